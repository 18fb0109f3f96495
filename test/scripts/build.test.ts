import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')
let copy: string

/** A small project around the real script and the real compiler. */
beforeEach(() => {
  copy = mkdtempSync(join(tmpdir(), 'tidemark-build-'))
  for (const path of ['scripts/build.mjs', 'tsconfig.json', 'package.json', 'package-lock.json']) {
    cpSync(join(root, path), join(copy, path), { recursive: true })
  }
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
  mkdirSync(join(copy, 'core'))
  writeFileSync(join(copy, 'core/a.ts'), "export { b } from './b.ts'\n")
  writeFileSync(join(copy, 'core/b.ts'), 'export const b: number = 1\n')
})
afterEach(() => rmSync(copy, { recursive: true }))

function build(): string {
  const script = "import('./scripts/build.mjs').then(({ buildIfStale }) => console.log(buildIfStale()))"
  return spawnSync(process.execPath, ['-e', script], { cwd: copy, encoding: 'utf8' }).stdout.trim()
}

const output = (path: string) => readFileSync(join(copy, 'dist', path), 'utf8')

test('builds once, then only when a source has changed', () => {
  expect(build()).toBe('built')
  expect(output('core/a.js')).toContain("from './b.js'")
  expect(build()).toBe('fresh')
  writeFileSync(join(copy, 'core/b.ts'), 'export const b: number = 2\n')
  expect(build()).toBe('built')
  expect(output('core/b.js')).toContain('b = 2')
  expect(build()).toBe('fresh')
})

test('removes the output of a source that is gone, and leaves no folder of its own behind', () => {
  build()
  rmSync(join(copy, 'core/b.ts'))
  writeFileSync(join(copy, 'core/a.ts'), 'export const a: number = 1\n')
  expect(build()).toBe('built')
  expect(existsSync(join(copy, 'dist/core/b.js'))).toBe(false)
  expect(existsSync(join(copy, 'dist/core/b.js.map'))).toBe(false)
  expect(output('core/a.js')).toContain('a = 1')
  expect(spawnSync('ls', ['-A'], { cwd: copy, encoding: 'utf8' }).stdout).not.toContain('.build-')
})

test('type errors are told every time, until they are gone', () => {
  writeFileSync(join(copy, 'core/b.ts'), "export const b: number = 'one'\n")
  expect(build()).toBe('errors')
  expect(build()).toBe('errors')
  writeFileSync(join(copy, 'core/b.ts'), 'export const b: number = 1\n')
  expect(build()).toBe('built')
})
