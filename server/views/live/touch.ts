/** Which tables were written, and which a query reads. */

export interface Touch {
  readonly schema: string
  /** Null: all tables of the schema, which may be others than before. */
  readonly table: string | null
}

/** Tables as `tableName` writes them; `any`: it cannot be said. */
export type Dependencies = 'any' | ReadonlySet<string>

/** Neither has a dot: adapters name them with a to z, 0 to 9 and `_`. */
export const tableName = (schema: string, table: string): string => `${schema}.${table}`

export function isTouched(dependencies: Dependencies, touches: readonly Touch[]): boolean {
  if (dependencies === 'any') return touches.length > 0
  return touches.some(({ schema, table }) => table === null || dependencies.has(tableName(schema, table)))
}
