/** The Hocuspocus providers people have, unchanged, against a real server process that gets killed. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { until } from '../../support/wait.ts'
import { HocuspocusSocket, type Version, versions } from './providers.ts'

let folder: string
let relay: RelayProcess
const opened: HocuspocusSocket[] = []

const start = (port: string): Promise<RelayProcess> => startRelay({ DATA_DIR: folder, PORT: port })

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  relay = await start('0')
})
afterEach(() => {
  for (const socket of opened.splice(0)) socket.close()
})
afterAll(async () => {
  expect(await relay.stop()).toBe(0)
  expect(relay.lines.filter(({ msg }) => /failed/.test(String(msg)))).toEqual([])
  rmSync(folder, { recursive: true })
})

const connect = (version: Version): HocuspocusSocket => {
  const socket = new HocuspocusSocket(version, relay.webSocketUrl)
  opened.push(socket)
  return socket
}
let rooms = 0
const room = (): string => `hocuspocus/${rooms++}`

describe.each(versions)('@hocuspocus/provider %s', (version) => {
  test('two clients see each other’s edits, and a third one finds them', async () => {
    const id = room()
    const [a, b] = [connect(version).open(id), connect(version).open(id)]
    await until('both saved', () => a.saved && b.saved)
    a.write('hello')
    await until('b has it', () => b.content === 'hello')
    b.write(' world')
    await until('a has it, all saved', () => a.content === 'hello world' && a.saved && b.saved)
    const c = connect(version).open(id)
    await until('c is synced', () => c.provider.synced)
    expect(c.content).toBe('hello world')
  })
})
