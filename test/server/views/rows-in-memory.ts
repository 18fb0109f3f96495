/** Rows, progress, cursors and fences in memory, all or nothing in each write; fails, and is taken over, as the test says. */
import type { DocumentId } from '../../../core/document-id.ts'
import type { Row } from '../../../core/domain/row.ts'
import type { Progress } from '../../../server/views/live-documents.ts'
import { partOf } from '../../../server/views/parts.ts'
import {
  type DeadLetter,
  type Projected,
  type RowStore,
  StoreError,
} from '../../../server/views/row-store.ts'

const leaseMs = 60

interface Held {
  holder: object | null
  untilMs: number
}

export class RowsInMemory {
  /** Whether a call fails, before it has its effect or after; `rows`: one that writes some. */
  fails: (what: 'rows' | 'else') => 'before' | 'after' | null = () => null
  refuses: (row: Row) => boolean = () => false
  readonly dead = new Map<string, DeadLetter>()
  /** Progress that would have gone back. */
  readonly wentBack: string[] = []
  private rows: { readonly table: string; readonly row: Row }[] = []
  private readonly progress = new Map<DocumentId, Map<string, Progress>>()
  private readonly parts: Held[]
  private readonly cursors: number[]
  private readonly holders: { readonly store: RowStore; killed: boolean }[] = []

  constructor(partCount: number) {
    this.parts = Array.from({ length: partCount }, () => ({ holder: null, untilMs: 0 }))
    this.cursors = new Array<number>(partCount).fill(0)
  }

  table(name: string): Row[] {
    return this.rows.filter(({ table }) => table === name).map(({ row }) => row)
  }

  rowsOf(document: string): string[] {
    return this.rows
      .filter(({ row }) => row['document'] === document)
      .map(({ table, row }) => `${table} ${JSON.stringify(row)}`)
      .sort()
  }

  isAt(sequence: number): boolean {
    return this.cursors.every((cursor) => cursor >= sequence)
  }

  /** Nothing that the holder of this number, counted among the living, does has any effect. */
  kill(index: number): void {
    this.holders.filter(({ killed }) => !killed)[index]!.killed = true
  }

  holder(): RowStore {
    const self = { killed: false } as { store: RowStore; killed: boolean }
    const mayFail = <T>(work: () => T, what: 'rows' | 'else' = 'else'): T => {
      const how = self.killed ? 'before' : this.fails(what)
      if (how === 'before') throw new StoreError('away', 'the database does not answer')
      const result = work()
      if (how === 'after') throw new StoreError('away', 'the connection was lost')
      return result
    }
    self.store = {
      claim: async () =>
        mayFail(() => {
          const nowMs = performance.now()
          const holders = new Set(
            this.parts.filter(({ untilMs }) => untilMs > nowMs).map(({ holder }) => holder),
          )
          const share = Math.ceil(this.parts.length / Math.max(1, holders.add(self).size))
          const claimed = new Map<number, { cursor: number; behind: null }>()
          this.parts.forEach((part, index) => {
            const mine = part.holder === self
            if (!mine && part.untilMs > nowMs) return
            if (claimed.size >= share) {
              if (mine) part.untilMs = 0
              return
            }
            part.holder = self
            part.untilMs = nowMs + leaseMs
            claimed.set(index, { cursor: this.cursors[index]!, behind: null })
          })
          return { parts: claimed, retries: [] }
        }),
      progressOf: async (documents) =>
        mayFail(() => new Map(documents.map((each) => [each, new Map(this.progress.get(each))]))),
      write: async (projected, dead, cursors) =>
        mayFail(
          () => this.write(self, projected, dead, cursors),
          projected.length + dead.length > 0 ? 'rows' : 'else',
        ),
      release: async () =>
        mayFail(() => {
          for (const part of this.parts) if (part.holder === self) part.untilMs = 0
        }),
    }
    this.holders.push(self)
    return self.store
  }

  private write(
    holder: object,
    projected: readonly Projected[],
    dead: readonly DeadLetter[],
    cursors: ReadonlyMap<number, number>,
  ): void {
    const touched = [...projected, ...dead].map(({ document }) => partOf(document))
    for (const part of [...touched, ...cursors.keys()])
      if (this.parts[part]!.holder !== holder)
        throw new StoreError('fenced', `part ${part} is another node's`)
    const given = projected.flatMap(({ replacements }) => replacements)
    if (given.some(({ rows }) => rows.some((row) => this.refuses(row))))
      throw new StoreError('refused', 'a row is refused')
    for (const { adapter, document, progress, replacements } of projected) {
      for (const { table, entries, rows } of replacements) {
        const replaced = (row: Row): boolean =>
          row['document'] === document && (entries === null || entries.includes(String(row['entry'])))
        this.rows = this.rows.filter((each) => each.table !== table || !replaced(each.row))
        this.rows.push(...rows.map((row) => ({ table, row })))
      }
      const own = this.progress.get(document) ?? new Map<string, Progress>()
      const before = own.get(adapter.name)
      if (before !== undefined && before.offset > progress.offset) this.wentBack.push(document)
      own.set(adapter.name, progress)
      this.progress.set(document, own)
      this.dead.delete(`${adapter.name} ${document}`)
    }
    for (const letter of dead) this.dead.set(`${letter.adapter.name} ${letter.document}`, letter)
    for (const [part, cursor] of cursors) this.cursors[part] = cursor
  }
}
