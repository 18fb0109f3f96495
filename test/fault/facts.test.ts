/**
 * Facts at the door of a real relay: honest ones come in, forged, rewritten and deleted ones do not, after a kill -9 and a
 * compaction as before; a document without facts is not asked.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { factsRoot } from '../../core/domain/facts/fact.ts'
import { counter } from '../../core/domain/kinds/counter.ts'
import { FactPerson } from '../support/fact-person.ts'
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

let relay: RelayProcess

const start = (): Promise<RelayProcess> =>
  startRelay({
    DATA_DIR: folder,
    ADAPTERS: adapters,
    JWT_SECRET: tokenSecret,
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

const person = (subject: string, document: string) =>
  new FactPerson({ url: () => relay.webSocketUrl, document, fields, subject })
type Person = ReturnType<typeof person>

async function stored(document: string): Promise<Record<string, unknown>> {
  const answer = await fetch(`${relay.url}/v1/documents/${encodeURIComponent(document)}`, {
    headers: { authorization: `Bearer ${await token()}`, accept: 'application/json' },
  })
  return ((await answer.json()) as Record<string, Record<string, unknown>>)[factsRoot] ?? {}
}

test('facts come in once, in order, from whom they belong to, also after a kill and a compaction', async () => {
  const ann = await person('ann', 'stock/1').connect()
  for (let i = 0; i < 10; i++) ann.domain.fields.count.do.add(1)
  await until('stored', async () => Object.keys(await stored('stock/1')).length === 11)

  for (const life of ['first', 'second']) {
    const attempts: [string, (mallory: Person) => void][] = [
      ['rewrites', (mallory) => mallory.facts.set(`${ann.actor}:3`, ['', 'count.add', 99])],
      ['deletes', (mallory) => mallory.facts.delete(`${ann.actor}:3`)],
      ['forges an author', (mallory) => mallory.facts.set(`${ann.actor}:11`, ['', 'count.add', 99])],
      ['forges a decision', (mallory) => mallory.facts.set(`@${ann.actor}:3`, ['', '@', { accepted: true }])],
      [
        'has a clock a day ahead',
        (mallory) => {
          mallory.domain.introduce()
          const payload = { value: 'x', time: Date.now() + 86_400_000 }
          mallory.facts.set(`${mallory.actor}:1`, ['', 'note.set', payload])
        },
      ],
      [
        'leaves a number out',
        (mallory) => {
          mallory.domain.introduce()
          mallory.facts.set(`${mallory.actor}:5`, ['', 'count.add', 99])
        },
      ],
    ]
    for (const [what, attack] of attempts) {
      const mallory = await person('mal', 'stock/1').connect()
      // As one update.
      mallory.doc.transact(() => attack(mallory))
      expect(await mallory.refused(), `${life} life: ${what}`).toBe(4422)
    }
    expect(Object.keys(await stored('stock/1'))).toHaveLength(11)
    await relay.kill9()
    relay = await start()
    await ann.connect()
  }
  ann.domain.fields.count.do.add(1)
  await until('stored', async () => Object.keys(await stored('stock/1')).length === 12)
  ann.close()
})

test('a document of no adapter with fields keeps its map to itself', async () => {
  const ann = await person('ann', 'other/1').connect()
  ann.facts.set('whatever', 1)
  await until('stored', async () => 'whatever' in (await stored('other/1')))
  ann.close()
})
