/** Names of types that are not built in, or that drivers do not name: asked of the catalog once, and kept. */
import type { QueryColumn } from '../../../core/protocol/query.ts'
import type { Column, Sql } from '../sql/sql.ts'

const namesMax = 10_000

export class TypeNames {
  private readonly sql: Sql
  private readonly names = new Map<string, string>()

  constructor(sql: Sql) {
    this.sql = sql
  }

  /** Throws `SqlError`. */
  async named(columns: readonly Column[]): Promise<readonly QueryColumn[]> {
    const unknown = columns.map(({ type }) => type).filter((type) => isNumber(type) && !this.names.has(type))
    if (unknown.length > 0) {
      if (this.names.size > namesMax) this.names.clear()
      const [result] = await this.sql.batch([
        {
          text: 'select oid, format_type(oid, null) from pg_type where oid = any ($1::oid[])',
          parameters: [`{${unknown.map((type) => type.slice(4)).join(',')}}`],
        },
      ])
      for (const [oid, name] of result?.rows ?? []) this.names.set(`oid ${oid}`, name ?? 'unknown')
    }
    return columns.map(({ name, type }) => ({ name, type: this.names.get(type) ?? type }))
  }
}

const isNumber = (type: string): boolean => type.startsWith('oid ')
