/** Ended sessions stay ended: at once, on all nodes, after restarts and compactions. On both logs. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parseDocumentId } from '../../../core/document-id.ts'
import { noOffset } from '../../../core/offset.ts'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import { isEnded, type Revocation, type Revocations } from '../../../server/access/access.ts'
import { openIdentity } from '../../../server/access/grants.ts'
import {
  decodeRevocation,
  decodeSnapshot,
  encodeRevocation,
  encodeSnapshot,
} from '../../../server/access/revocation-codec.ts'
import {
  accessDocument,
  createRevocations,
  type RevocationsLimits,
} from '../../../server/access/revocations.ts'
import type { Follower, Log, Subscription } from '../../../server/log/log.ts'
import { type CollectingLogger, collectingLogger } from '../../support/collecting-logger.ts'
import { type RedisServer, startRedisServer } from '../../support/redis-server.ts'
import { until } from '../../support/wait.ts'
import { embeddedLogUnderTest } from '../log/lmdb/embedded-log-under-test.ts'
import { nodesOn } from '../log/redis/nodes.ts'

const deal = parseDocumentId('deals/1')
const dayMs = 86_400_000
const logger: CollectingLogger = collectingLogger()
const clock = { nowMs: 0 }
const endings: (() => Promise<void>)[] = []

interface Node {
  readonly revocations: Revocations
  readonly heard: Revocation[]
}

async function node(log: Log, limits: Partial<RevocationsLimits> = {}): Promise<Node> {
  const revocations = createRevocations({ log, logger, days: 30, limits, nowMs: () => clock.nowMs })
  const heard: Revocation[] = []
  revocations.onRevoked((revocation) => heard.push(revocation))
  endings.unshift(() => revocations.close())
  await revocations.start()
  return { revocations, heard }
}

/** The log, with some of it otherwise. */
function over(log: Log, otherwise: Partial<Log>): Log {
  return Object.assign(Object.create(log) as Log, otherwise)
}

beforeEach(() => {
  clock.nowMs = 1_000_000
  logger.lines.length = 0
})
afterEach(async () => {
  for (const end of endings.splice(0)) await end()
})

/** What is heard has a name and a time; times only where they matter. */
const names = (heard: readonly Revocation[]): string[] =>
  heard.map((revocation) => (revocation.kind === 'subject' ? revocation.subject : revocation.document))
const snapshotOffset = async (log: Log) => (await log.load(accessDocument)).snapshot?.offset ?? 0

describe('on the embedded log', () => {
  async function embedded() {
    const under = await embeddedLogUnderTest()
    endings.push(() => under.cleanup())
    return under
  }

  test("ends a subject's sessions: heard once, at once, and its tokens up to then are refused", async () => {
    const { log } = await embedded()
    const { revocations, heard } = await node(log)
    expect(revocations.refuses('ann', null)).toBe(false)
    await revocations.end({ subject: 'ann' }, 'admin')
    expect(heard).toEqual([{ kind: 'subject', subject: 'ann', atMs: 1_000_000 }])
    expect([null, 0, 1_000_000, 1_000_001].map((issued) => revocations.refuses('ann', issued))).toEqual([
      true,
      true,
      true,
      false,
    ])
    expect(revocations.refuses('bob', null)).toBe(false)
    await revocations.end({ document: deal })
    expect(names(heard)).toEqual(['ann', 'deals/1'])
    expect((await log.load(accessDocument)).tail.map(({ author }) => author)).toEqual(['admin', ''])
  })

  test('two nodes hear each once, in the order of the log', async () => {
    const { log } = await embedded()
    const [one, two] = [await node(log), await node(log)]
    await Promise.all([
      one.revocations.end({ subject: 'ann' }),
      two.revocations.end({ document: deal }),
      one.revocations.end({ subject: 'bob' }),
    ])
    for (const { heard } of [one, two]) {
      await until('all are heard', () => heard.length >= 3)
      expect(names(heard).toSorted()).toEqual(['ann', 'bob', 'deals/1'])
    }
  })

  test('after a restart they are refused still, and nothing is heard again', async () => {
    const under = await embedded()
    const first = await node(under.log)
    await first.revocations.end({ subject: 'ann' })
    await first.revocations.end({ document: deal })
    await first.revocations.close()
    const again = await node(await under.reopen())
    expect(again.revocations.refuses('ann', 1_000_000)).toBe(true)
    expect(again.revocations.refuses('ann', 1_000_001)).toBe(false)
    expect(again.heard).toEqual([])
    await again.revocations.end({ subject: 'bob' })
    expect(names(again.heard)).toEqual(['bob'])
  })

  test('the log stays short: compacted, and read back the same', async () => {
    const { log } = await embedded()
    const one = await node(log, { tailCountMax: 10 })
    const two = await node(log, { tailCountMax: 10 })
    for (let i = 0; i < 60; i++) {
      clock.nowMs++
      await one.revocations.end({ subject: `user ${i % 20}` })
    }
    await until('compacted', async () => (await log.load(accessDocument)).tail.length <= 10)
    for (const { heard } of [one, two]) {
      await until('all are heard', () => heard.length === 60)
      expect(names(heard)).toEqual(Array.from({ length: 60 }, (_, i) => `user ${i % 20}`))
    }
    const three = await node(log)
    for (const { revocations } of [one, two, three]) {
      expect(revocations.refuses('user 19', 1_000_060)).toBe(true)
      expect(revocations.refuses('user 0', 1_000_041)).toBe(true)
      expect(revocations.refuses('user 0', 1_000_042)).toBe(false)
    }
    expect(await snapshotOffset(log)).toBeGreaterThan(0)
  })

  test('a node whose compaction came second compacts the next time', async () => {
    const { log } = await embedded()
    const first = await node(log, { tailCountMax: 5 })
    const second = await node(log, { tailCountMax: 8 })
    for (let i = 0; i < 9; i++) {
      await first.revocations.end({ subject: `user ${i}` })
      await until('heard', () => second.heard.length > i)
      if (i === 5) await until('compacted', async () => (await snapshotOffset(log)) === 6)
    }
    await first.revocations.close()
    for (let i = 0; i < 12; i++) await second.revocations.end({ subject: `user ${i}` })
    await until('compacted again', async () => (await snapshotOffset(log)) > 9)
  })

  test("a node's own are told and refused before the log brings them back, and not told again then", async () => {
    const { log } = await embedded()
    const late: (() => void)[] = []
    const lagging = over(log, {
      follow: (document, after, follower) =>
        log.follow(document, after, {
          onEphemeral: (bytes) => follower.onEphemeral(bytes),
          onCompactedPast: () => follower.onCompactedPast(),
          onEntries: (entries) => late.push(() => follower.onEntries(entries)),
        }),
    })
    const { revocations, heard } = await node(lagging)
    const other = await node(log)
    await revocations.end({ subject: 'ann' })
    await other.revocations.end({ subject: 'bob' })
    expect(revocations.refuses('ann', null)).toBe(true)
    expect(revocations.refuses('bob', null)).toBe(false)
    expect(names(heard)).toEqual(['ann'])
    for (const deliver of late) deliver()
    expect(names(heard)).toEqual(['ann', 'bob'])
    expect(revocations.refuses('bob', null)).toBe(true)
  })

  test('a compaction between load and follow: nothing is missed', async () => {
    const { log } = await embedded()
    const writer = await node(log, { tailCountMax: 2 })
    let between: (() => Promise<void>) | null = async () => {
      for (const subject of ['ann', 'bob', 'cid']) await writer.revocations.end({ subject })
      await until('compacted', async () => (await snapshotOffset(log)) > 0)
    }
    const late = over(log, {
      async load(document) {
        const loaded = await log.load(document)
        await between?.()
        between = null
        return loaded
      },
    })
    const reader = await node(late)
    expect(reader.revocations.refuses('cid', null)).toBe(true)
    await writer.revocations.end({ subject: 'dan' })
    expect(names(reader.heard)).toEqual(['dan'])
  })

  test('a node that was away while its place was compacted hears what it missed, once, when it can', async () => {
    const { log } = await embedded()
    let follower: Follower | null = null
    let subscription: Subscription | null = null
    let failures = 0
    const flaky = over(log, {
      async follow(document, after, given) {
        follower = given
        subscription = await log.follow(document, after, given)
        return subscription
      },
      load: (document) =>
        failures-- > 0 ? Promise.reject(new TidemarkError('log_unavailable', 'away')) : log.load(document),
    })
    const reader = await node(flaky, { retryMs: 1, retryMsMax: 4 })
    const writer = await node(log, { tailCountMax: 2 })
    await writer.revocations.end({ subject: 'ann' })
    subscription!.close()
    for (const subject of ['bob', 'cid']) await writer.revocations.end({ subject })
    await writer.revocations.end({ document: deal })
    await until('compacted', async () => (await snapshotOffset(log)) > 0)
    clock.nowMs++
    await writer.revocations.end({ subject: 'ann' })
    failures = 3
    follower!.onCompactedPast()
    await until('all are heard', () => reader.heard.length >= 5)
    await writer.revocations.end({ subject: 'dan' })
    expect(names(reader.heard)).toEqual(['ann', 'bob', 'cid', 'deals/1', 'ann', 'dan'])
    expect(reader.revocations.refuses('ann', 1_000_001)).toBe(true)
  })

  test('at most so many subjects, the latest, and none for longer than REVOCATION_DAYS', async () => {
    const { log } = await embedded()
    const limits = { subjectsMax: 3, tailCountMax: 2 }
    const { revocations } = await node(log, limits)
    for (const subject of ['a', 'b', 'c', 'a', 'd']) {
      clock.nowMs++
      await revocations.end({ subject })
    }
    const refused = (by: Revocations) => ['a', 'b', 'c', 'd'].filter((subject) => by.refuses(subject, null))
    expect(refused(revocations)).toEqual(['a', 'c', 'd'])
    expect(logger.lines.filter(({ level }) => level === 'warn')).toHaveLength(1)
    clock.nowMs += 30 * dayMs - 1
    expect(refused(revocations)).toEqual(['d'])
    clock.nowMs++
    expect(refused(revocations)).toEqual([])
    await until('compacted', async () => (await log.load(accessDocument)).tail.length <= 2)
    expect(refused((await node(log, limits)).revocations)).toEqual([])
  })

  test('an entry of a kind that is not known is skipped, and said', async () => {
    const { log } = await embedded()
    const { revocations, heard } = await node(log)
    const update = new TextEncoder().encode('{"kind":"planet","planet":"mars","atMs":1}')
    await log.append(accessDocument, [{ timeMs: 1, author: '', origin: 'x', update }])
    await revocations.end({ subject: 'ann' })
    expect(names(heard)).toEqual(['ann'])
    expect(logger.lines.filter(({ message }) => message.includes('unreadable revocation'))).toHaveLength(1)
  })

  test('a snapshot that cannot be read ends the start', async () => {
    const { log } = await embedded()
    const bytes = new TextEncoder().encode('{"format":2}')
    await log.append(accessDocument, [{ timeMs: 1, author: '', origin: 'x', update: bytes }])
    const { offset } = await log.load(accessDocument)
    const none = new Uint8Array()
    const snapshot = { offset, bytes, index: none, metadata: none }
    expect(await log.compact(accessDocument, snapshot, noOffset)).toBe(true)
    await expect(node(log)).rejects.toMatchObject({ code: 'document_unreadable' })
  })

  test.each(['', 'x'.repeat(256), '\ud800'])(
    'a subject that no token can have is refused: %j',
    async (subject) => {
      const { log } = await embedded()
      const { revocations } = await node(log)
      await expect(revocations.end({ subject })).rejects.toMatchObject({ code: 'invalid_request' })
      expect((await log.load(accessDocument)).offset).toBe(0)
    },
  )
})

describe('on Redis, two nodes', () => {
  let redis: RedisServer
  const nodes = nodesOn(() => redis.url)
  beforeEach(async () => {
    redis = await startRedisServer()
    endings.push(
      () => nodes.closeAll(),
      () => redis.stop(),
    )
  })

  test('each hears of it once, and refuses', async () => {
    const one = await node(await nodes.open())
    const two = await node(await nodes.open())
    await one.revocations.end({ subject: 'ann' })
    expect(one.revocations.refuses('ann', null)).toBe(true)
    await two.revocations.end({ document: deal })
    for (const { heard, revocations } of [one, two]) {
      await until('both are heard', () => heard.length >= 2)
      expect(revocations.refuses('ann', 1_000_000)).toBe(true)
    }
    await one.revocations.end({ subject: 'bob' })
    await until('heard', () => two.heard.length > 2)
    for (const { heard } of [one, two]) expect(names(heard).toSorted()).toEqual(['ann', 'bob', 'deals/1'])
  })

  test('after an outage both go on; both compact, and lose nothing', async () => {
    const limits = { tailCountMax: 5, retryMs: 10 }
    const logs = [await nodes.open(), await nodes.open()]
    const [one, two] = [await node(logs[0]!, limits), await node(logs[1]!, limits)]
    await one.revocations.end({ subject: 'before' })
    await until('heard', () => two.heard.length === 1)
    await redis.kill9()
    await expect(one.revocations.end({ subject: 'meanwhile' })).rejects.toMatchObject({
      code: 'log_unavailable',
    })
    await redis.restart()
    await until('writable', () => logs.every((log) => log.unavailable() === null))
    for (let i = 0; i < 20; i++) await [one, two][i % 2]!.revocations.end({ subject: `user ${i}` })
    for (const { heard } of [one, two]) {
      await until('all are heard', () => names(heard).includes('user 18') && names(heard).includes('user 19'))
      expect(names(heard).filter((name) => name.startsWith('user'))).toHaveLength(20)
    }
    await until('compacted', async () => (await snapshotOffset(logs[0]!)) > 0)
    const three = await node(await nodes.open())
    for (let i = 0; i < 20; i++) expect(three.revocations.refuses(`user ${i}`, null)).toBe(true)
  })
})

test('which sessions a revocation ends', () => {
  const ann = { ...openIdentity, subject: 'ann', issuedMs: 5 }
  const bySubject: Revocation = { kind: 'subject', subject: 'ann', atMs: 5 }
  expect(isEnded(bySubject, ann, deal)).toBe(true)
  expect(isEnded(bySubject, { ...ann, issuedMs: null }, null)).toBe(true)
  expect(isEnded(bySubject, { ...ann, issuedMs: 6 }, deal)).toBe(false)
  expect(isEnded(bySubject, { ...ann, subject: 'bob' }, deal)).toBe(false)
  const byDocument: Revocation = { kind: 'document', document: deal, atMs: 5 }
  expect(isEnded(byDocument, ann, deal)).toBe(true)
  expect(isEnded(byDocument, ann, parseDocumentId('deals/2'))).toBe(false)
  expect(isEnded(byDocument, ann, null)).toBe(false)
})

test('what is stored is what the last version stored: a change needs a new number, and reads the old', () => {
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)
  const stored = {
    subject: '{"kind":"subject","subject":"ann","atMs":1}',
    document: '{"kind":"document","document":"deals/1","atMs":2}',
    snapshot: '{"format":1,"subjects":[["ann",1]],"documents":[["deals/1",2]]}',
  }
  const ann: Revocation = { kind: 'subject', subject: 'ann', atMs: 1 }
  const deals: Revocation = { kind: 'document', document: deal, atMs: 2 }
  const all = { subjects: [['ann', 1]], documents: [[deal, 2]] } as const
  expect(text(encodeRevocation(ann))).toBe(stored.subject)
  expect(text(encodeRevocation(deals))).toBe(stored.document)
  expect(text(encodeSnapshot(all))).toBe(stored.snapshot)
  const bytes = (json: string) => new TextEncoder().encode(json)
  expect(decodeRevocation(bytes(stored.subject))).toEqual(ann)
  expect(decodeRevocation(bytes(stored.document))).toEqual(deals)
  expect(decodeSnapshot(bytes(stored.snapshot))).toMatchObject(all)
  expect(decodeRevocation(new Uint8Array([0xff]))).toBeNull()
})
