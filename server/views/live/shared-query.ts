/** A query that all who ask the same share, and those who listen to it. */
import type { KeyColumns, LiveResult } from './result.ts'
import type { Dependencies } from './touch.ts'

export interface Listener<Query> {
  readonly number: number
  readonly shared: Shared<Query>
  /** Name of the result that it has. */
  has: string | null
  ready: boolean
  /** It was told something. */
  begun: boolean
}

export interface Shared<Query> {
  readonly name: string
  readonly trace: string
  readonly query: Query
  readonly listeners: Map<number, Listener<Query>>
  /** Aborted when nobody listens any more. */
  readonly left: AbortController
  current: LiveResult | null
  /** Undefined: not known, or not any more. */
  dependencies: Dependencies | undefined
  /** How often its tables were replaced: dependencies that were asked for before are of no use. */
  replacements: number
  keyColumns: KeyColumns | undefined
  stale: boolean
  state: 'idle' | 'waiting' | 'running'
  timer: NodeJS.Timeout | null
  notBeforeMs: number
  failures: number
}

export function begin<Query>(name: string, trace: string, query: Query): Shared<Query> {
  return {
    name,
    trace,
    query,
    listeners: new Map(),
    left: new AbortController(),
    current: null,
    dependencies: undefined,
    replacements: 0,
    keyColumns: undefined,
    stale: true,
    state: 'idle',
    timer: null,
    notBeforeMs: 0,
    failures: 0,
  }
}

export interface Takers {
  /** By the name of what they have. */
  readonly behind: ReadonlyMap<string | null, readonly number[]>
  /** Have what there is, and were told nothing yet. */
  readonly there: readonly number[]
}

/** Who is to be told of this result. From now on they have it, and are busy with it. `mayBegin`: also who was told nothing yet. */
export function takers<Query>(listeners: Iterable<Listener<Query>>, id: string, mayBegin: boolean): Takers {
  const behind = new Map<string | null, number[]>()
  const there: number[] = []
  for (const listener of listeners) {
    const { number, has, begun } = listener
    if (!listener.ready || !(begun || mayBegin)) continue
    listener.begun = true
    if (has === id) {
      if (!begun) there.push(number)
      continue
    }
    const alike = behind.get(has)
    if (alike === undefined) behind.set(has, [number])
    else alike.push(number)
    listener.has = id
    listener.ready = false
  }
  return { behind, there }
}
