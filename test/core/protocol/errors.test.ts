import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { errorTable } from '../../../core/protocol/errors.ts'

test('PROTOCOL.md shows the error table as it is', () => {
  const document = readFileSync(new URL('../../../PROTOCOL.md', import.meta.url), 'utf8')
  const shown = document.split('\n').filter((line) => /^\| `/.test(line))
  const rows = Object.entries(errorTable).map(
    ([code, row]) =>
      `| \`${code}\` | ${row.closeCode} | ${row.httpStatus} | ${row.retryable ? 'yes' : 'no'} | ${row.advice} |`,
  )
  expect(shown).toEqual(rows)
})

test('a code that must not be retried says so to clients by its close code', () => {
  for (const row of Object.values(errorTable)) {
    expect(row.closeCode >= 4400 && row.closeCode <= 4499).toBe(!row.retryable)
  }
})
