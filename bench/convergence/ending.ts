/** What must be when a history is over: all are equal, and nothing is held for anybody who is up to date. */
import { readFileSync } from 'node:fs'
import type { Observer } from './observer.ts'
import { Violation } from './oracle.ts'
import type { Person } from './run.ts'
import { type Tally, until } from './timeline.ts'
import type { RelayNode } from './world.ts'

const residentBytesMax = 700 * 1024 * 1024
const idleMsMax = 60_000
/** Empty when everything is done. */
const queues = ['views_pending', 'intents_waiting']
/** What happens by itself, and is counted with the faults. */
const events = {
  'slow session resynced': 'sessions_behind_total',
  'document compacted': 'compactions_total{result="done"}',
}

export interface Outcome {
  readonly steps: number
  readonly edits: number
  readonly promised: number
  readonly offsets: number
  readonly faults: Tally
  /** On the line of one client, by kind. */
  readonly bytes: Tally
  /** Until all have the same of what people made. */
  readonly convergeMs: number
  /** Until the server has decided all intents as well, which waits for views that are being built; null where it decides none. */
  readonly decidedMs: number | null
}

export const areDecided = (people: readonly Person[]): boolean =>
  people.every(({ replica }) => replica.document.undecided() === 0)

export function areEqual(people: readonly Person[], observers: readonly Observer[]): boolean {
  const [first, ...others] = contentsOf(people, observers)
  return others.every(([, json]) => json === first![1])
}

/** For whoever has to find out why they are not. */
export function differenceOf(people: readonly Person[], observers: readonly Observer[]): string {
  const [[, first], ...others] = contentsOf(people, observers) as [[string, string], ...[string, string][]]
  const states = people.map(
    ({ name, kind, replica }) =>
      `${name} (${kind}) is ${replica.connected ? 'connected' : 'not connected'}${replica.settled ? '' : ', has something to save'}, ${replica.document.read().edits.size} edits`,
  )
  const different = others.filter(([, json]) => json !== first).map(([who]) => who)
  return `${states.join('; ')}; different from ann: ${different.join(', ') || 'nobody'}`
}

function contentsOf(
  people: readonly Person[],
  observers: readonly Observer[],
): (readonly [who: string, json: string])[] {
  return [
    ...people.map(({ name, replica }) => [name, replica.document.read().json] as const),
    ...observers.map((observer) => [`the observer at ${observer.node.name}`, observer.read().json] as const),
  ]
}

export function assertSame(one: string, other: string, who: string, whose: string): void {
  if (one === other) return
  let at = 0
  while (one[at] === other[at]) at++
  const near = (text: string): string => text.slice(Math.max(0, at - 60), at + 60)
  throw new Violation(`${who} is not equal to ${whose}: …${near(one)}… and …${near(other)}…`)
}

/** Adds to `faults` what happened at the node by itself. */
export async function assertBounded(node: RelayNode, faults: Tally): Promise<void> {
  const status = readFileSync(`/proc/${node.pid}/status`, 'utf8')
  const bytes = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024
  if (bytes > residentBytesMax) throw new Violation(`${node.name} takes ${bytes} bytes`)
  const grave = node.complaints.find((line) => /"gap"|resync failed|unreadable entry|uncaught/i.test(line))
  if (grave !== undefined) throw new Violation(`${node.name} says ${grave}`)
  let metrics = new Map<string, number>() as ReadonlyMap<string, number>
  // On a busy machine an answer may be lost: it is asked again, and `until` fails when none comes.
  const isAnswered = async (): Promise<boolean> => {
    metrics = (await node.metrics().catch(() => null)) ?? metrics
    return metrics.size > 0
  }
  await until(`${node.name} tells its metrics`, isAnswered, idleMsMax)
  for (const [event, counter] of Object.entries(events)) {
    const gained = node.gained(metrics, counter)
    if (gained > 0) faults.add(event, gained)
  }
  const waiting = (): string[] => queues.filter((name) => (metrics.get(name) ?? 0) > 0)
  const isIdle = async (): Promise<boolean> => {
    await isAnswered()
    return waiting().length === 0
  }
  try {
    await until('nothing waits', isIdle, idleMsMax)
  } catch (error) {
    throw new Violation(`${String(error)}; at ${node.name} there are still ${waiting()}`)
  }
}
