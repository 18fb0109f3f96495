/** Hocuspocus providers in a document of facts, which are written in order: outages change nothing about that. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { factsRoot } from '../../../core/domain/facts/fact.ts'
import { type ApiUnderTest, startApi } from '../../server/gateway/http/api-under-test.ts'
import { token } from '../../support/tokens.ts'
import { until } from '../../support/wait.ts'
import { type HocuspocusClient, HocuspocusSocket, type Version, versions } from './providers.ts'

let relay: ApiUnderTest
const opened: HocuspocusSocket[] = []

beforeAll(async () => {
  relay = await startApi({ factRules: { clocked: new Set() } })
})
afterEach(() => {
  for (const socket of opened.splice(0)) socket.close()
})
afterAll(() => relay.close())

const open = async (version: Version, id: string): Promise<HocuspocusClient> => {
  const socket = new HocuspocusSocket(version, relay.webSocketUrl)
  opened.push(socket)
  return socket.open(id, { token: await token() })
}
const facts = ({ doc }: HocuspocusClient): string[] => [...doc.getMap(factsRoot).keys()].sort()
const write = ({ doc }: HocuspocusClient, seq: number): void => {
  doc
    .getMap(factsRoot)
    .set(`annann:${seq}`, seq === 0 ? ['', '@actor', 'ann'] : ['', 'note.set', String(seq)])
}

describe.each(versions)('@hocuspocus/provider %s', (version) => {
  test('facts of which the first were thrown away unsent come in, and count as saved once they are', async () => {
    const id = `f/${version}`
    const [a, witness] = [await open(version, id), await open(version, id)]
    await until('both saved', () => a.saved && witness.saved)
    a.socket.provider.disconnect()
    write(a, 0)
    // What it had kept to be sent is forgotten.
    a.socket.provider.disconnect()
    await until('away', () => !a.socket.connected && !a.provider.synced)
    write(a, 1)
    write(a, 2)
    void a.socket.provider.connect()
    await until('saved', () => a.saved || a.denials.length > 0)
    expect(a.denials).toEqual([])
    write(a, 3)
    await until('the witness has all', () => facts(witness).length === 4)
    await until('saved', () => a.saved)
    expect(facts(witness)).toEqual(['annann:0', 'annann:1', 'annann:2', 'annann:3'])
    expect(a.provider.unsyncedChanges).toBe(0)
  })
})
