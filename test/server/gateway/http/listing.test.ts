/** Pages of documents: complete, in order, bounded, and silent about what the caller may not read. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { DocumentId } from '../../../../core/document-id.ts'
import { TidemarkError } from '../../../../core/protocol/errors.ts'
import { type Identity, includes } from '../../../../server/access/access.ts'
import { grantsSchema, openIdentity, rightsOf } from '../../../../server/access/grants.ts'
import { Listing, type ListingLimits } from '../../../../server/gateway/http/listing.ts'
import { statement } from '../../../../server/log/lineage.ts'
import { createEmbeddedLog } from '../../../../server/log/lmdb/embedded-log.ts'
import type { Log } from '../../../../server/log/log.ts'
import { silentLogger } from '../../../support/silent-logger.ts'
import { textUpdate } from './api-under-test.ts'

const from = { timeMs: 1, author: 'a', origin: 'o' }
const never = new AbortController().signal
const ids: string[] = []
const removed = new Set<string>()
let folder: string
let log: Log

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-listing-'))
  log = createEmbeddedLog({ directory: folder, logger: silentLogger })
  await log.start()
  for (let i = 0; i < 120; i++) {
    const id = `${['mine', 'secret', 'yours'][i % 3]}/${i % 5}/${i}`
    ids.push(id)
    const update = textUpdate(`${i}`)
    await log.append(id as DocumentId, [{ ...from, update }])
    if (i % 4 !== 0) continue
    await log.append(id as DocumentId, [statement('removal', from)])
    // Every other one of those comes back.
    if (i % 8 !== 0) removed.add(id)
    else await log.append(id as DocumentId, [statement('creation', from)])
  }
})
afterAll(async () => {
  await log.close()
  rmSync(folder, { recursive: true })
})

const reader = (...patterns: string[]): Identity => ({
  ...openIdentity,
  ...rightsOf(grantsSchema.parse(patterns.map((match) => ({ match, access: 'read' })))),
})

/** All pages, and the cursors between them. */
async function all(listing: Listing, identity: Identity, prefix: string, limit: number) {
  const found: string[] = []
  const cursors: string[] = []
  for (let after = ''; ; ) {
    const page = await listing.page(identity, prefix, after, limit, never)
    expect(page.documents.length).toBeLessThanOrEqual(limit)
    found.push(...page.documents.map(({ id }) => id))
    if (page.next === null) return { found, cursors }
    expect(cursors).not.toContain(page.next)
    cursors.push(page.next)
    after = page.next
  }
}

test('all pages together are what may be read, each once, whatever the limits; cursors name nothing else', async () => {
  const remembering = new Listing(log)
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(['**'], ['mine/**'], ['*/3/*'], ['yours/1/*', 'mine/**'], ['none'], ['secret/0/0']),
      fc.constantFrom('', 'm', 'mine/', 'secret/3', 'yours/1/', 'zzz'),
      fc.integer({ min: 1, max: 50 }),
      fc.record({
        idsMax: fc.integer({ min: 1, max: 60 }),
        bytesMax: fc.integer({ min: 1, max: 500 }),
        knownMax: fc.integer({ min: 1, max: 200 }),
      }),
      async (patterns, prefix, limit, limits: ListingLimits) => {
        const identity = reader(...patterns)
        const may = (id: string): boolean => includes(identity.accessTo(id as DocumentId), 'read')
        const expected = ids.filter((id) => id.startsWith(prefix) && may(id) && !removed.has(id)).sort()
        for (const listing of [new Listing(log, limits), remembering]) {
          const { found, cursors } = await all(listing, identity, prefix, limit)
          expect(found).toEqual(expected)
          for (const cursor of cursors) {
            const [, id] = /^\d+:(.*)$/.exec(Buffer.from(cursor, 'base64url').toString()) ?? []
            expect(id === '' || may(id!)).toBe(true)
          }
        }
      },
    ),
    { numRuns: 60 },
  )
})

test('what is remembered is looked at again when the log has gone on', async () => {
  const listing = new Listing(log)
  const there = async () => (await listing.page(reader('**'), 'turns', '', 10, never)).documents.length
  const say = async (kind: 'removal' | 'creation') => {
    await log.append('turns' as DocumentId, [statement(kind, from)])
  }
  await say('creation')
  for (let turn = 0; turn < 3; turn++) {
    expect(await there()).toBe(1)
    await log.append('turns' as DocumentId, [{ ...from, update: textUpdate('x') }])
    expect(await there()).toBe(1)
    await say('removal')
    expect(await there()).toBe(0)
    // Meant for the lineage that has ended: void.
    await log.append('turns' as DocumentId, [{ ...from, update: textUpdate('late') }])
    expect(await there()).toBe(0)
    await say('creation')
  }
})

test('a document that cannot be read does not hide the others', async () => {
  const broken: Log = Object.create(log, {
    load: {
      value: (document: DocumentId) =>
        document === ids[1]
          ? Promise.reject(new TidemarkError('document_unreadable', 'damaged'))
          : log.load(document),
    },
  })
  const { found } = await all(new Listing(broken), reader('**'), '', 50)
  expect(found.filter((id) => id !== 'turns')).toEqual(ids.filter((id) => !removed.has(id)).sort())
})

test.each([
  'x',
  'MTI',
  Buffer.from('99999999:a').toString('base64url'),
  Buffer.from('-1:a').toString('base64url'),
])('a cursor that no page gave is refused: %s', async (cursor) => {
  await expect(new Listing(log).page(reader('**'), '', cursor, 1, never)).rejects.toMatchObject({
    code: 'invalid_request',
  })
})
