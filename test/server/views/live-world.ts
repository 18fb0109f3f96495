/** A hub over a database that is a list of rows, and its listeners, who apply what they are told as a client does. */
import { expect } from 'vitest'
import type { ErrorCode, TidemarkError } from '../../../core/protocol/errors.ts'
import { apply } from '../../../core/protocol/live-rows.ts'
import type { LiveRow, QueryRow } from '../../../core/protocol/query.ts'
import { LiveHub, type LiveHubLimits } from '../../../server/views/live/hub.ts'
import type { Answer } from '../../../server/views/live/result.ts'

export interface Query {
  readonly rights: string
  readonly table: string
  readonly key?: readonly string[]
}

export class Reader {
  rows: readonly LiveRow[] | null = null
  id: string | null = null
  readonly events: string[] = []
  current = false
  ended: { code: ErrorCode; message: string } | null = null
  ready = true

  take(id: string, event: string): void {
    expect(this.ready, 'nothing is sent to who is not ready').toBe(true)
    const [, name = '', json = ''] = /^id: \S+\nevent: (rows|change)\ndata: (.*)\n\n$/.exec(event) ?? []
    const data = JSON.parse(json)
    this.rows = name === 'rows' ? data.rows : apply(this.rows ?? [], data)
    this.id = id
    this.events.push(name)
    this.ready = false
  }
  get values(): unknown[] | undefined {
    return this.rows?.map(({ row }) => row['value'])
  }
}

export class World {
  /** To be closed at the end of a test. */
  static readonly all: World[] = []
  rows: QueryRow[] = []
  runs = 0
  failure: TidemarkError | null = null
  dependenciesOf = async (table: string): Promise<ReadonlySet<string>> => new Set([`s.${table}`])
  /** Runs wait for it. */
  gate: Promise<void> = Promise.resolve()
  atOnce = 0
  atOnceMax = 0
  readonly readers = new Map<number, Reader>()
  readonly hub: LiveHub<Query>

  constructor(limits: Partial<LiveHubLimits> = {}) {
    this.hub = new LiveHub<Query>({
      nameOf: (query) => JSON.stringify(query),
      traceOf: ({ rights, table, key }) => JSON.stringify([rights.split(',')[0], table, key]),
      keyOf: ({ key }) => key ?? null,
      run: async () => this.run(),
      dependenciesOf: ({ table }) => this.dependenciesOf(table),
      outlet: {
        send: (numbers, id, event) => {
          for (const number of numbers) this.readers.get(number)!.take(id, event)
        },
        current: (number) => {
          this.readers.get(number)!.current = true
        },
        end: (numbers, code, message) => {
          for (const number of numbers) this.readers.get(number)!.ended = { code, message }
        },
      },
      limits: { intervalMs: 1, backoffMsMax: 10, ...limits },
    })
    World.all.push(this)
  }

  private async run(): Promise<Answer> {
    this.runs++
    this.atOnceMax = Math.max(this.atOnceMax, ++this.atOnce)
    try {
      const rows = [...this.rows]
      await this.gate
      if (this.failure !== null) throw this.failure
      const names = Object.keys(rows[0] ?? {})
      return {
        columns: names.map((name) => ({ name, type: 'text' })),
        rows: rows.map((row) => JSON.stringify(row)),
      }
    } finally {
      this.atOnce--
    }
  }

  open(number: number, query: Partial<Query> = {}, has: string | null = null): Reader {
    const reader = this.readers.get(number) ?? new Reader()
    this.readers.set(number, reader)
    this.hub.open(number, { rights: 'all', table: 't', ...query }, has)
    return reader
  }
  ready(...numbers: number[]): void {
    for (const number of numbers) this.readers.get(number)!.ready = true
    this.hub.ready(numbers)
  }
  write(values: readonly unknown[], table = 't'): void {
    this.rows = values.map((value, i) => ({ document: `d/${i}`, value: value as string }))
    this.touch(table)
  }
  touch(table = 't'): void {
    this.hub.touched([{ schema: 's', table }])
  }
}
