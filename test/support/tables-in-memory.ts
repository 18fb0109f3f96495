/** Tables as a database has them: what replacements come to. */
import type { Replacement } from '../../core/domain/project.ts'
import type { Row } from '../../core/domain/row.ts'

export class TablesInMemory {
  private readonly rows = new Map<string, readonly Row[]>()

  static contentOf(rows: Readonly<Record<string, readonly Row[]>>): string[] {
    const tables = new TablesInMemory()
    for (const [table, each] of Object.entries(rows)) tables.rows.set(table, each)
    return tables.content()
  }

  replace(replacements: readonly Replacement[]): this {
    for (const { table, entries, rows } of replacements) {
      const kept = (this.rows.get(table) ?? []).filter(
        (row) => entries !== null && !entries.includes(row['entry'] as string),
      )
      this.rows.set(table, [...kept, ...rows])
    }
    return this
  }

  /** In an order of their own. Halves of surrogate pairs: see test/core/engine/support.ts. */
  content(): string[] {
    return [...this.rows]
      .flatMap(([table, rows]) => rows.map((row) => `${table} ${JSON.stringify(row)}`))
      .map((row) => row.replaceAll(/[\ud800-\udfff]/g, '\ufffd'))
      .sort()
  }
}
