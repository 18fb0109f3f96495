/** Webhooks on a real embedded log, to a real HTTP receiver. */
import { mkdtemp, rm } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { toOffset } from '../../../core/offset.ts'
import { fold, metadataOf, statement } from '../../../server/log/lineage.ts'
import { createEmbeddedLog } from '../../../server/log/lmdb/embedded-log.ts'
import type { Log } from '../../../server/log/log.ts'
import { webhooksDocument } from '../../../server/webhooks/term.ts'
import { documentOf } from '../../contract/log-model.ts'
import { silentLogger } from '../../support/silent-logger.ts'
import { until } from '../../support/wait.ts'
import { ReceiverUnderTest } from './receiver-under-test.ts'
import { type Choices, change, type WebhooksUnderTest, webhooksOn } from './webhooks-under-test.ts'

const a = documentOf('deals/a')
const b = documentOf('deals/b')
const by = { timeMs: 1_700_000_000_000, author: 'ann', origin: 's' }

let directory: string
let log: Log
let receiver: ReceiverUnderTest
let running: WebhooksUnderTest[]

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tidemark-webhooks-'))
  receiver = new ReceiverUnderTest()
  running = []
  await Promise.all([open(), receiver.start()])
})

afterEach(async () => {
  await close()
  await receiver.stop()
  await rm(directory, { recursive: true, force: true })
  expect(receiver.doubtful).toEqual([])
  expect(running.flatMap(({ lines }) => lines).join('\n')).not.toMatch(/not-to-be-logged|hooks\?|whsec/)
})

async function open(): Promise<void> {
  log = createEmbeddedLog({ directory, logger: silentLogger })
  await log.start()
}

async function close(): Promise<void> {
  for (const { webhooks } of running) await webhooks.close()
  await log.close()
}

/** Resolves when it has read where the log ends: what changes from then on is announced. */
async function start(choices: Partial<Choices> = {}): Promise<WebhooksUnderTest> {
  const started = webhooksOn({ log, receiver, ...choices })
  running.push(started)
  await started.webhooks.start()
  await until('it announces', () => started.lines.some((line) => line.includes('this node announces')))
  return started
}

async function restart(choices: Partial<Choices> = {}): Promise<WebhooksUnderTest> {
  await close()
  await open()
  return start(choices)
}

async function storedCursor(): Promise<number> {
  const { snapshot, tail } = await log.load(webhooksDocument)
  const bytes = tail.at(-1)?.update ?? snapshot?.bytes ?? new Uint8Array()
  return JSON.parse(Buffer.from(bytes).toString()).cursor
}

describe('what is announced', () => {
  it('a change, with its offset and time, and an id that is the same in every attempt', async () => {
    await start()
    receiver.answer = (_, attempt) => (attempt < 2 ? 503 : 200)
    await log.append(a, [{ ...by, update: new Uint8Array([1]) }])
    await until('three attempts', () => receiver.received.length === 3)
    const [first, ...others] = receiver.received
    expect(first).toMatchObject({ type: 'document.changed', document: a, offset: 1, epoch: 0 })
    expect(first!.timestamp).toBe('2023-11-14T22:13:20.000Z')
    for (const other of others) expect(other.id).toBe(first!.id)
    await change(log, a)
    await receiver.hasHeard(a, 2)
    expect(receiver.of(a).at(-1)!.id).not.toBe(first!.id)
  })

  it('nothing of before the first start, everything after, whatever came before a restart', async () => {
    await change(log, a)
    await start()
    await change(log, b)
    await receiver.hasHeard(b, 1)
    await close()
    await open()
    await change(log, a)
    await start()
    await receiver.hasHeard(a, 2)
    expect(receiver.of(a).map(({ offset }) => offset)).toEqual([2])
    expect(receiver.of(b)).toHaveLength(1)
  })

  it('a removal, and the new lineage after a creation, also once that is compacted', async () => {
    await start()
    await change(log, a)
    await receiver.hasHeard(a, 1)
    await log.append(a, [statement('removal', by)])
    await receiver.hasHeard(a, 2)
    await log.append(a, [{ ...by, update: new Uint8Array([1]) }])
    await receiver.hasHeard(a, 3)
    await log.append(a, [statement('creation', by)])
    await receiver.hasHeard(a, 4)
    const loaded = await log.load(a)
    const metadata = metadataOf(fold(loaded), loaded)
    const none = new Uint8Array()
    await log.compact(a, { offset: toOffset(4), bytes: none, index: none, metadata }, toOffset(0))
    await log.append(a, [{ ...by, epoch: toOffset(4), update: new Uint8Array([1]) }])
    await receiver.hasHeard(a, 5)
    expect(receiver.of(a).map(({ type, offset, epoch }) => [type, offset, epoch])).toEqual([
      ['document.changed', 1, 0],
      ['document.removed', 2, 0],
      ['document.removed', 3, 0],
      ['document.changed', 4, 4],
      ['document.changed', 5, 4],
    ])
  })

  it('a document that keeps changing, now and then; one that has come to rest, once', async () => {
    await start({ debounceMs: 100 })
    const untilMs = Date.now() + 1_500
    let head = 0
    while (Date.now() < untilMs) {
      head = await change(log, a)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    await receiver.hasHeard(a, head)
    const offsets = receiver.of(a).map(({ offset }) => offset)
    expect(offsets).toEqual([...new Set(offsets)].sort((x, y) => x - y))
    expect(offsets.length).toBeGreaterThan(1)
    expect(offsets.length).toBeLessThan(head / 4)
  })

  it('every document once more for a higher WEBHOOK_REPLAY, and for no lower one', async () => {
    for (const document of [a, b]) await change(log, document)
    const told = () => receiver.received.map(({ document }) => document).sort()
    await start({ replay: 1 })
    await until('both', () => receiver.received.length === 2)
    await restart({ replay: 1 })
    await restart()
    await change(log, a)
    await receiver.hasHeard(a, 2)
    expect(told()).toEqual([a, a, b])
    await restart({ replay: 2 })
    await until('both again', () => receiver.received.length === 5)
    await restart({ replay: 1 })
    await change(log, b)
    await receiver.hasHeard(b, 2)
    expect(told()).toEqual([a, a, a, b, b, b])
    // What the node with the lower number has stored forgets nothing.
    await restart({ replay: 2 })
    await change(log, b)
    await receiver.hasHeard(b, 3)
    expect(told()).toEqual([a, a, a, b, b, b, b])
  })
})

describe('a receiver that fails', () => {
  it('is tried again after 500, after no answer in time, and while nobody listens', async () => {
    const { count } = await start({ timeoutMs: 100 })
    const hung: ServerResponse[] = []
    receiver.answer = (_, attempt) => (attempt === 0 ? 500 : attempt === 1 ? (r) => hung.push(r) : 200)
    await change(log, a)
    await until('delivered', async () => (await count('delivered')) === 1)
    expect(receiver.of(a)).toHaveLength(3)
    expect(await count('failed')).toBe(2)

    await receiver.stop()
    await change(log, b)
    await until('failures', async () => (await count('failed')) > 4)
    await receiver.start()
    await receiver.hasHeard(b, 1)
    await until('delivered', async () => (await count('delivered')) === 2)
    expect(await count('dropped')).toBe(0)
  })

  it('hears of the latest state only, of a document that changed meanwhile', async () => {
    const { metrics, count } = await start()
    receiver.answer = () => 500
    await change(log, a)
    await until('attempts', () => receiver.of(a).length > 2)
    const lag = async () =>
      (await metrics.registry.getSingleMetric('tidemark_webhook_lag_seconds')?.get())?.values[0]?.value
    expect(await lag()).toBeGreaterThan(0)
    expect(await change(log, a)).toBe(2)
    await until('the new one is tried', () => receiver.of(a).some(({ offset }) => offset === 2))
    receiver.answer = () => 200
    await until('delivered', async () => (await count('delivered')) === 1)
    const offsets = receiver.of(a).map(({ offset }) => offset)
    expect(offsets.slice(offsets.indexOf(2))).not.toContain(1)
    expect(await lag()).toBe(0)
  })

  it('holds nobody up by refusing one document, which is dropped after 20 attempts', async () => {
    const { count, lines } = await start({ concurrency: 1 })
    receiver.answer = ({ document }) => (document === a ? 400 : 200)
    await change(log, a)
    await until('refused', () => receiver.of(a).length > 0)
    for (let offset = 1; offset <= 5; offset++) {
      await change(log, b)
      await receiver.hasHeard(b, offset)
    }
    await until('dropped', async () => (await count('dropped')) === 1)
    expect(receiver.of(a)).toHaveLength(20)
    expect(lines.filter((line) => line.startsWith('error') && line.includes(a))).toHaveLength(1)
    receiver.answer = () => 200
    await change(log, a)
    await receiver.hasHeard(a, 2)
  })

  it('is not asked again after 410, but told of later changes', async () => {
    const { count } = await start()
    receiver.answer = () => 410
    await change(log, a)
    await until('dropped', async () => (await count('dropped')) === 1)
    receiver.answer = () => 200
    await change(log, a)
    await receiver.hasHeard(a, 2)
    expect(receiver.of(a)).toHaveLength(2)
  })

  it('is left alone as long as its Retry-After says: for the document, and with 429 for all', async () => {
    await start()
    const wait = (status: number) => (response: ServerResponse) =>
      void response.writeHead(status, { 'retry-after': '1' }).end()
    receiver.answer = ({ document }, attempt) => (document === a && attempt === 0 ? wait(503) : 200)
    await change(log, a)
    await until('asked to wait', () => receiver.of(a).length === 1)
    await change(log, b)
    await receiver.hasHeard(b, 1)
    expect(receiver.of(a)).toHaveLength(1)
    await until('again', () => receiver.of(a).length === 2)
    expect(receiver.of(a)[1]!.atMs - receiver.of(a)[0]!.atMs).toBeGreaterThanOrEqual(950)

    receiver.answer = ({ document }, attempt) => (document === a && attempt === 0 ? wait(429) : 200)
    await change(log, a)
    await receiver.hasHeard(a, 2)
    await change(log, b)
    await receiver.hasHeard(b, 2)
    expect(receiver.of(b)[1]!.atMs - receiver.of(a)[2]!.atMs).toBeGreaterThanOrEqual(950)
  })

  it('is not followed elsewhere', async () => {
    const { count } = await start({ limits: { refusalsMax: 3 } })
    const elsewhere = new ReceiverUnderTest()
    await elsewhere.start()
    receiver.answer = () => (response) => void response.writeHead(307, { location: elsewhere.url }).end()
    await change(log, a)
    await until('dropped', async () => (await count('dropped')) === 1)
    expect(elsewhere.received).toEqual([])
    await elsewhere.stop()
  })
})

describe('limits', () => {
  it('posts so many at a time and no more, each document once at a time', async () => {
    await start({ concurrency: 3 })
    const open: ServerResponse[] = []
    receiver.answer = () => (response) => open.push(response)
    const documents = Array.from({ length: 10 }, (_, i) => documentOf(`deals/${i}`))
    for (const document of documents) await change(log, document)
    await until('three under way', () => open.length === 3)
    for (const document of documents) await change(log, document)
    const finish = setInterval(() => open.shift()?.writeHead(200).end(), 5)
    await Promise.all(documents.map((document) => receiver.hasHeard(document, 2)))
    clearInterval(finish)
    for (const response of open) response.writeHead(200).end()
    expect(receiver.underWayMost).toBe(3)
  })

  it('reads on only when there is room for what waits, and announces all in the end', async () => {
    const { webhooks } = await start({ limits: { waitingMax: 5, pageMax: 2 } })
    receiver.answer = () => 500
    const documents = Array.from({ length: 40 }, (_, i) => documentOf(`deals/${i}`))
    for (const document of documents) await change(log, document)
    await until('failures', () => receiver.received.length > 40)
    // Appended one after the other, so no two share a sequence and pages end where they should.
    expect(new Set(receiver.received.map(({ document }) => document)).size).toBeLessThanOrEqual(5)
    receiver.answer = () => 200
    await Promise.all(documents.map((document) => receiver.hasHeard(document, 1)))
    await webhooks.close()
  })
})

describe('the cursor', () => {
  it('stays before what is not delivered, so that it comes again after a restart', async () => {
    await start()
    receiver.answer = ({ document }) => (document === a ? 500 : 200)
    await change(log, a)
    const [before] = await log.changes(0, 1)
    for (let offset = 1; offset <= 3; offset++) {
      await change(log, b)
      await receiver.hasHeard(b, offset)
    }
    await until('attempts', () => receiver.of(a).length > 2)
    await close()
    await open()
    expect(await storedCursor()).toBeLessThan(before!.sequence)
    receiver.answer = () => 200
    const heard = receiver.of(a).length
    await start()
    await until('a again', () => receiver.of(a).length > heard)
  })

  it('is kept short, and moves on to the end', async () => {
    await start({ debounceMs: 0, limits: { saveMs: 0, pollMs: 1 } })
    for (let offset = 1; offset <= 150; offset++) {
      await change(log, a)
      if (offset % 2 === 0) await receiver.hasHeard(a, offset)
    }
    await receiver.hasHeard(a, 150)
    const end = (await log.changes(0, 10)).at(-1)!.sequence
    await until('at the end', async () => (await storedCursor()) === end)
    const { snapshot, tail } = await log.load(webhooksDocument)
    expect(snapshot).not.toBeNull()
    expect(tail.length).toBeLessThanOrEqual(100)
  })

  it('that cannot be read stops announcing, and is not taken for a first start', async () => {
    await log.append(webhooksDocument, [{ ...by, update: new TextEncoder().encode('{"cursor":"x"}') }])
    await change(log, a)
    const started = webhooksOn({ log, receiver })
    running.push(started)
    await started.webhooks.start()
    await until('a warning', () => started.lines.some((line) => line.includes('webhooks wait')))
    expect(receiver.received).toEqual([])
    expect((await log.load(webhooksDocument)).offset).toBe(1)
  })
})
