import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'

const root = join(import.meta.dirname, '../..')
const patience = { timeout: 100_000 }
let copy: string
let launched: ChildProcess | undefined

/** The real scripts and package.json around a server that tells its process id and how it was ended. */
const server = `
process.on('SIGTERM', () => process.exit(7))
setInterval(() => undefined, 1000)
console.log('server ' + process.pid + ' ' + process.env['GREETING'])
`

beforeEach(() => {
  copy = mkdtempSync(join(tmpdir(), 'tidemark-start-'))
  for (const path of ['scripts', 'tsconfig.json', 'package.json', 'package-lock.json']) {
    cpSync(join(root, path), join(copy, path), { recursive: true })
  }
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
  mkdirSync(join(copy, 'server'))
  writeFileSync(join(copy, 'server/main.ts'), server)
})
afterEach(() => {
  launched?.kill('SIGKILL')
  rmSync(copy, { recursive: true })
})

async function npmStart(): Promise<{ npm: ChildProcess; serverId: number; output: () => string }> {
  const npm = spawn('npm', ['start'], {
    cwd: copy,
    env: { ...process.env, GREETING: 'hello' },
    stdio: 'pipe',
  })
  launched = npm
  let output = ''
  for (const stream of [npm.stdout, npm.stderr])
    stream.on('data', (chunk: Buffer) => (output += String(chunk)))
  await vi.waitFor(() => expect(output).toMatch(/^server \d+ hello$/m), patience)
  return { npm, serverId: Number(/^server (\d+)/m.exec(output)?.[1]), output: () => output }
}

function isAlive(id: number): boolean {
  try {
    return process.kill(id, 0)
  } catch {
    return false // No such process.
  }
}

test('npm start builds, runs the server, and hands it SIGTERM and hands back its exit code', async () => {
  const { npm, serverId } = await npmStart()
  npm.kill('SIGTERM')
  const [code] = await once(npm, 'exit')
  expect(code).toBe(7)
  expect(isAlive(serverId)).toBe(false)
})

test('a server outlives no npm that was killed with -9', async () => {
  const { npm, serverId } = await npmStart()
  expect(isAlive(serverId)).toBe(true)
  npm.kill('SIGKILL')
  await vi.waitFor(() => expect(isAlive(serverId)).toBe(false), patience)
})

test('npm start says what stops it when the sources have type errors', async () => {
  writeFileSync(join(copy, 'server/main.ts'), "export const port: number = 'none'\n")
  const npm = spawn('npm', ['start'], { cwd: copy, stdio: 'pipe' })
  let output = ''
  for (const stream of [npm.stdout, npm.stderr])
    stream.on('data', (chunk: Buffer) => (output += String(chunk)))
  const [code] = await once(npm, 'close')
  expect(code).toBe(1)
  expect(output).toContain('npm start: the sources have type errors')
})
