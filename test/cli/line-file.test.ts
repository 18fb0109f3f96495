import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { LineFile } from '../../cli/line-file.ts'

const folder = mkdtempSync(join(tmpdir(), 'tidemark-lines-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

test('lines that are appended at the same time are all there, through one file that is closed', async () => {
  const path = join(folder, 'many')
  const lines = await LineFile.open(path)
  await Promise.all(Array.from({ length: 50 }, (_, i) => lines.append({ i, text: 'x'.repeat(i * 100) })))
  await lines.close()
  const { values } = await LineFile.open(path)
  expect(values.map((value) => (value as { i: number }).i).sort((a, b) => a - b)).toEqual(
    Array.from({ length: 50 }, (_, i) => i),
  )
  if (process.platform === 'linux') {
    const open = readdirSync('/proc/self/fd').map((fd) => targetOf(fd))
    expect(open.filter((target) => target.includes('tidemark-lines-'))).toEqual([])
  }
})

test('a file without lines is not left behind', async () => {
  const lines = await LineFile.open(join(folder, 'empty'))
  await lines.prepare()
  expect(readdirSync(folder)).toContain('empty')
  await lines.close()
  expect(readdirSync(folder)).not.toContain('empty')
})

test('a line that was torn is passed over, and does not spoil the next', async () => {
  const path = join(folder, 'torn')
  writeFileSync(path, '{"a":1}\n{"a":')
  const lines = await LineFile.open(path)
  expect(lines.values).toEqual([{ a: 1 }])
  await lines.append({ a: 2 })
  await lines.append({ a: 3 })
  await lines.close()
  expect((await LineFile.open(path)).values).toEqual([{ a: 1 }, { a: 2 }, { a: 3 }])
  expect(readFileSync(path, 'utf8')).toBe('{"a":1}\n{"a":\n{"a":2}\n{"a":3}\n')
})

/** Of a file that this process has open; the listing itself is gone by now. */
function targetOf(descriptor: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${descriptor}`)
  } catch {
    return ''
  }
}
