/** One server per data directory; the lock goes with the process, also with kill -9. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { createEmbeddedLog } from '../../server/log/lmdb/embedded-log.ts'
import { silentLogger } from '../support/silent-logger.ts'

const writer = fileURLToPath(new URL('./embedded-log-writer.mjs', import.meta.url))
let directory: string
let child: ChildProcess | null = null

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tidemark-lock-'))
})

afterEach(async () => {
  child?.kill('SIGKILL')
  await rm(directory, { recursive: true, force: true })
})

const openLog = () => createEmbeddedLog({ directory, logger: silentLogger })

it('refuses a second server in the same process, until the first has closed', async () => {
  const first = openLog()
  await first.start()
  await expect(openLog().start()).rejects.toThrow(directory)
  await first.close()
  const second = openLog()
  await second.start()
  await second.close()
})

it('refuses a second server in another process, and lets it start after kill -9 of the first', async () => {
  const settings = { run: 'lock', appends: 1e9, limits: {} }
  child = spawn(process.execPath, [writer, directory, JSON.stringify(settings)], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  await once(child.stdout!, 'data')
  child.stdout!.resume()
  await expect(openLog().start()).rejects.toThrow('Another server is running')
  child.kill('SIGKILL')
  await once(child, 'close')
  const log = openLog()
  await log.start()
  expect(log.unavailable()).toBeNull()
  await log.close()
})
