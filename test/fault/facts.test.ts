/**
 * Facts at the door of a real relay: honest ones come in, forged, rewritten and deleted ones do not, after a kill -9 and a
 * compaction as before; a document without facts is not asked.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import * as Y from 'yjs'
import { registration, written } from '../../core/domain/facts/author.ts'
import { factsRoot } from '../../core/domain/facts/fact.ts'
import { DocumentFold } from '../../core/domain/fold/document-fold.ts'
import { counter } from '../../core/domain/kinds/counter.ts'
import { RawClient } from '../support/raw-client.ts'
import { type RelayProcess, startRelay } from '../support/relay-process.ts'
import { token, tokenSecret } from '../support/tokens.ts'
import { until } from '../support/wait.ts'

const folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
const adapters = join(folder, 'adapters')

const adapter = `
import { counter, defineAdapter, lastWrite } from 'tidemark/adapter'
export default defineAdapter({
  name: 'stock', version: 1, documents: 'stock/:id', fields: { count: counter(), note: lastWrite() },
})
`
const secret = tokenSecret
let relay: RelayProcess

const start = (): Promise<RelayProcess> =>
  startRelay({
    DATA_DIR: folder,
    ADAPTERS: adapters,
    JWT_SECRET: secret,
    COMPACTION_TAIL_COUNT_MAX: '2',
    COMPACTION_INTERVAL_MS: '0',
  })

beforeAll(async () => {
  mkdirSync(adapters)
  writeFileSync(join(adapters, 'stock.ts'), adapter)
  relay = await start()
})
afterAll(async () => {
  await relay.stop()
  rmSync(folder, { recursive: true })
})

const fields = { fields: { count: counter() } }

/** Somebody with a document; facts are written into it as they should be, or not. */
class Person {
  readonly fold = new DocumentFold(fields)
  readonly doc = new Y.Doc()
  private seq = 1
  private readonly subject: string
  private readonly document: string

  constructor(subject: string, document: string) {
    this.subject = subject
    this.document = document
  }

  get actor(): string {
    return this.subject.padEnd(6, '0')
  }

  async connect(): Promise<RawClient> {
    const mine = await token({ subject: this.subject })
    const client = await RawClient.connect(`${relay.webSocketUrl}/${this.document}?token=${mine}&echo=true`, {
      doc: this.doc,
    })
    await until('synced', () => client.synced)
    return client
  }

  register(): void {
    const entry = registration(this.actor, this.subject)
    this.fold.apply([entry])
    this.set(entry.key, entry.value)
  }

  add(amount: number): void {
    const entry = written(this.fold, this.actor, this.seq++, {
      entity: '',
      type: 'count.add',
      payload: amount,
    })
    this.fold.apply([entry])
    this.set(entry.key, entry.value)
  }

  set(key: string, value: unknown): void {
    this.doc.getMap(factsRoot).set(key, value)
  }
}

async function stored(document: string): Promise<Record<string, unknown>> {
  const answer = await fetch(`${relay.url}/v1/documents/${encodeURIComponent(document)}`, {
    headers: { authorization: `Bearer ${await token()}`, accept: 'application/json' },
  })
  return ((await answer.json()) as Record<string, Record<string, unknown>>)[factsRoot] ?? {}
}

test('facts come in once, in order, from whom they belong to, also after a kill and a compaction', async () => {
  const ann = new Person('ann', 'stock/1')
  let client = await ann.connect()
  const send = (): void => client.sendUpdate(Y.encodeStateAsUpdate(ann.doc))
  ann.register()
  for (let i = 0; i < 10; i++) ann.add(1)
  send()
  await until('stored', async () => Object.keys(await stored('stock/1')).length === 11)

  for (const life of ['first', 'second']) {
    const attempts: [string, (mallory: Person) => void][] = [
      ['rewrites', (mallory) => mallory.set(`${ann.actor}:3`, ['', 'count.add', 99])],
      ['deletes', (mallory) => mallory.doc.getMap(factsRoot).delete(`${ann.actor}:3`)],
      ['forges an author', (mallory) => mallory.set(`${ann.actor}:11`, ['', 'count.add', 99])],
      ['forges a decision', (mallory) => mallory.set(`@${ann.actor}:3`, ['', '@', { accepted: true }])],
      [
        'has a clock a day ahead',
        (mallory) => {
          mallory.register()
          const payload = { value: 'x', time: Date.now() + 86_400_000 }
          mallory.set(`${mallory.actor}:1`, ['', 'note.set', payload])
        },
      ],
      [
        'leaves a number out',
        (mallory) => {
          mallory.register()
          mallory.set(`${mallory.actor}:5`, ['', 'count.add', 99])
        },
      ],
    ]
    for (const [what, attack] of attempts) {
      const mallory = new Person('mal', 'stock/1')
      const theirs = await mallory.connect()
      const before = Y.encodeStateVector(mallory.doc)
      attack(mallory)
      theirs.sendUpdate(Y.encodeStateAsUpdate(mallory.doc, before))
      await theirs.closed
      expect(theirs.closeCode, `${life} life: ${what}`).toBe(4422)
    }
    expect(Object.keys(await stored('stock/1'))).toHaveLength(11)
    client.close()
    await relay.kill9()
    relay = await start()
    client = await ann.connect()
  }
  ann.add(1)
  send()
  await until('stored', async () => Object.keys(await stored('stock/1')).length === 12)
  client.close()
})

test('a document of no adapter with fields keeps its map to itself', async () => {
  const ann = new Person('ann', 'other/1')
  const client = await ann.connect()
  ann.set('whatever', 1)
  client.sendUpdate(Y.encodeStateAsUpdate(ann.doc))
  await until('stored', async () => 'whatever' in (await stored('other/1')))
  client.close()
})
