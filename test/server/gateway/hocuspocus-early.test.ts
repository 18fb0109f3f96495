/**
 * Facts are written in order, and a Hocuspocus provider that was away sends its latest edits before its step 2, which has those
 * before them: the door keeps them until then, byte by byte.
 */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import * as Y from 'yjs'
import { factsRoot } from '../../../core/domain/facts/fact.ts'
import { HocuspocusRaw } from '../../support/hocuspocus-client.ts'
import { token } from '../../support/tokens.ts'
import { until } from '../../support/wait.ts'
import { type ApiUnderTest, startApi } from './http/api-under-test.ts'

let relay: ApiUnderTest
const opened: HocuspocusRaw[] = []

beforeAll(async () => {
  relay = await startApi({ factRules: { clocked: new Set() } })
})
afterEach(() => {
  for (const client of opened.splice(0)) client.close()
})
afterAll(() => relay.close())

/** Ann's facts in a document of her own: the update of each, and all of them. */
class Facts {
  readonly doc = new Y.Doc()
  readonly updates: Uint8Array[] = []

  constructor(count: number, padding = '') {
    this.doc.on('update', (update: Uint8Array) => this.updates.push(update))
    for (let seq = 0; seq < count; seq++)
      this.doc
        .getMap(factsRoot)
        .set(`annann:${seq}`, seq === 0 ? ['', '@actor', 'ann'] : ['', 'note.set', `${seq}${padding}`])
  }

  get whole(): Uint8Array {
    return Y.encodeStateAsUpdate(this.doc)
  }
}

/** Its first step 1 is answered; the server waits for its step 2. */
async function open(id: string, grant: 'read' | 'write' = 'write'): Promise<HocuspocusRaw> {
  const client = await HocuspocusRaw.connect(relay.webSocketUrl)
  opened.push(client)
  await client.open(id, await token({ documents: [{ match: '**', access: grant }] }))
  return client
}
const statuses = (client: HocuspocusRaw, id: string): string[] =>
  client.of(id).filter((text) => !/^(step|auth|update|awareness)/.test(text))

async function stored(id: string): Promise<string[]> {
  const doc = new Y.Doc()
  const client = await open(id)
  for (const update of client.updates) Y.applyUpdate(doc, update)
  return [...doc.getMap(factsRoot).keys()].sort()
}
const names = (count: number): string[] => Array.from({ length: count }, (_, seq) => `annann:${seq}`).sort()

test('facts that come before those they follow are kept until the step 2 has come, and told of once they are durable', async () => {
  const id = 'e/kept'
  const facts = new Facts(5)
  const client = await open(id)
  for (const update of facts.updates.slice(2)) client.send(id, 0, 2, update)
  await client.heard()
  expect([statuses(client, id), await stored(id)]).toEqual([[], []])
  client.send(id, 0, 1, facts.whole)
  await until('told of all', () => statuses(client, id).length === 4)
  expect(statuses(client, id)).toEqual(Array(4).fill('status 1'))
  expect(await stored(id)).toEqual(names(5))
})

test('the step 2 may have less: what was kept comes in after it, in its order', async () => {
  const id = 'e/less'
  const facts = new Facts(6)
  const client = await open(id)
  for (const update of facts.updates.slice(3)) client.send(id, 0, 2, update)
  client.send(id, 0, 1, Y.mergeUpdates(facts.updates.slice(0, 3)))
  await until('told of all', () => statuses(client, id).length === 4)
  expect(await stored(id)).toEqual(names(6))
})

test('what is still too early after the step 2 is refused, and ends the document', async () => {
  const id = 'e/refused'
  const facts = new Facts(5)
  const client = await open(id)
  client.send(id, 0, 2, facts.updates[4]!)
  client.send(id, 0, 1, Y.mergeUpdates(facts.updates.slice(0, 2)))
  await until('denied', () => statuses(client, id).some((text) => text.startsWith('denied')))
  expect(statuses(client, id)[0]).toBe('status 0')
  expect(statuses(client, id).at(-1)).toMatch(/^denied fact_refused: annann:4 comes before annann:2/)
  expect(await stored(id)).toEqual(names(2))
  // And so is what comes when the step 2 was taken long ago.
  const later = await open('e/later')
  later.send('e/later', 0, 1, Y.mergeUpdates(facts.updates.slice(0, 2)))
  later.send('e/later', 0, 2, facts.updates[3]!)
  await until('denied', () => statuses(later, 'e/later').some((text) => text.startsWith('denied')))
})

test('what is refused for another reason is refused at once', async () => {
  const id = 'e/forged'
  const client = await open(id)
  const doc = new Y.Doc()
  doc.getMap(factsRoot).set('benben:0', ['', '@actor', 'ben'])
  client.send(id, 0, 2, Y.encodeStateAsUpdate(doc))
  await until('denied', () => statuses(client, id).some((text) => text.startsWith('denied')))
  expect(statuses(client, id).at(-1)).toMatch(/^denied fact_refused/)
})

test('a reader’s are refused as ever', async () => {
  const id = 'e/reader'
  const client = await open(id, 'read')
  client.send(id, 0, 2, new Facts(2).updates[1]!)
  await until('told', () => statuses(client, id).length === 1)
  expect(statuses(client, id)).toEqual(['status 0'])
})

test('too much of it ends the connection, which takes nothing from what others keep', async () => {
  const id = 'e/much'
  const other = await open('e/other')
  const facts = new Facts(2, 'x'.repeat(1024 * 1024))
  const kept = new Facts(3)
  other.send('e/other', 0, 2, kept.updates[2]!)
  const client = await open(id)
  for (let i = 0; i < 6; i++) client.send(id, 0, 2, facts.updates[1]!)
  expect(await client.end()).toMatch(/^1013 overloaded/)
  other.send('e/other', 0, 1, kept.whole)
  await until('told of all', () => statuses(other, 'e/other').length === 2)
})

test('what a document kept is forgotten when its client leaves it', async () => {
  const client = await open('e/leaves-0')
  const facts = new Facts(2, 'x'.repeat(1024 * 1024))
  for (let i = 0; i < 9; i++) {
    const id = `e/leaves-${i}`
    if (i > 0) await client.open(id, await token())
    client.send(id, 0, 2, facts.updates[1]!)
    client.send(id, 7)
  }
  await client.heard()
  expect(client.closeCode).toBe(null)
})
