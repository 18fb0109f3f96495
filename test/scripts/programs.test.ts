import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { findProgram } from '../../scripts/programs.mjs'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-programs-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

function program(path: string, version: string): string {
  const file = join(folder, path)
  mkdirSync(join(file, '..'), { recursive: true })
  writeFileSync(file, `#!/bin/sh\necho 'store-server v=${version} bits=64'\n`)
  chmodSync(file, 0o755)
  return file
}

const store = () => ({
  label: 'Store',
  variable: 'TEST_STORE',
  executables: ['store-server'],
  folders: [join(folder, 'lib/store-*/bin')],
  versionMin: 7,
  aptPackage: 'store',
  toInstall: 'Store 7',
})

test('its variable comes first, then the PATH, then the usual folders, the newest version first', () => {
  program('lib/store-9/bin/store-server', '9.1.0')
  const newest = program('lib/store-10/bin/store-server', '10.2.0')
  expect(findProgram(store(), {})).toEqual({ path: newest })
  const onPath = program('path/store-server', '7.0.1')
  expect(findProgram(store(), { PATH: join(folder, 'path') })).toEqual({ path: onPath })
  const named = program('named', '8.0.0')
  expect(findProgram(store(), { PATH: join(folder, 'path'), TEST_STORE: named })).toEqual({ path: named })
})

test('one that is too old is passed over, and named when there is no other', () => {
  const old = program('path/store-server', '6.2.0')
  const environment = { PATH: join(folder, 'path') }
  expect(findProgram(store(), environment).reason).toBe(`${old} is Store 6, older than 7`)
  const newer = program('lib/store-8/bin/store-server', '8.0.0')
  expect(findProgram(store(), environment)).toEqual({ path: newer })
})

test('what is missing, or not a program, is said', () => {
  expect(findProgram(store(), { PATH: '' }).reason).toBe('Store was not found')
  expect(findProgram(store(), { TEST_STORE: join(folder, 'none') }).reason).toMatch('which is not a program')
  mkdirSync(join(folder, 'path/store-server'), { recursive: true })
  expect(findProgram(store(), { PATH: join(folder, 'path') }).reason).toBe('Store was not found')
})

test('a folder is that of the program itself, not of a link to it', () => {
  program('lib/store-8/bin/store-server', '8.0.0')
  mkdirSync(join(folder, 'path'))
  symlinkSync(join(folder, 'lib/store-8/bin/store-server'), join(folder, 'path/store-server'))
  const found = findProgram({ ...store(), isFolder: true }, { PATH: join(folder, 'path') })
  expect(found).toEqual({ path: join(folder, 'lib/store-8/bin') })
})
