/**
 * The names of the tables that an adapter's SQL makes, in their order: enough to notice at the start, without a database,
 * that a name is wrong or taken. What columns and keys there are, the database's catalog says later.
 */

/** Throws an `Error` that says what is wrong. Partitions are not among them: rows go to the table they are of. */
export function tablesIn(sql: string): string[] {
  const create =
    /\bcreate\s+(?:unlogged\s+)?table\s+(?:if\s+not\s+exists\s+)?("[^"]*"|[\p{L}_][\p{L}\p{N}_$]*)(\s*\.)?(\s+partition\s+of\b)?/giu
  const tables: string[] = []
  for (const [, name = '', dot, partition] of withoutText(sql).matchAll(create)) {
    if (dot !== undefined)
      throw new Error(`its SQL makes a table in the schema ${name}; leave the schema out`)
    const table = name.startsWith('"') ? name.slice(1, -1) : name.toLowerCase()
    if (!/^[a-z_][a-z0-9_]{0,62}$/.test(table))
      throw new Error(`its SQL names a table ${name}; use up to 63 of a to z, 0 to 9 and _`)
    if (tables.includes(table)) throw new Error(`its SQL makes the table "${table}" twice`)
    if (partition === undefined) tables.push(table)
  }
  return tables
}

/** Comments and literals could hold anything. Quoted names stay. */
function withoutText(sql: string): string {
  const text =
    /--[^\n]*|\/\*[\s\S]*?\*\/|\b[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\$([\p{L}_]\w*)?\$[\s\S]*?\$\1\$|("[^"]*")/gu
  return sql.replaceAll(text, (_, _tag, quoted?: string) => quoted ?? ' ')
}
