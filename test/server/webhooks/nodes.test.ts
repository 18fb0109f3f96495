/** Two nodes on one real Redis: one of them announces, and the other takes over from where it was. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import type { DocumentId } from '../../../core/document-id.ts'
import type { Lease, Log } from '../../../server/log/log.ts'
import { leaseKey } from '../../../server/log/redis/keys.ts'
import { createRedisLog } from '../../../server/log/redis/redis-log.ts'
import { webhooksDocument } from '../../../server/webhooks/term.ts'
import { documentOf } from '../../contract/log-model.ts'
import { dieTogether } from '../../support/die-together.ts'
import { type RedisServer, startRedisServer } from '../../support/redis-server.ts'
import { silentLogger } from '../../support/silent-logger.ts'
import { until } from '../../support/wait.ts'
import { ReceiverUnderTest, secretText } from './receiver-under-test.ts'
import { type Choices, change, type WebhooksUnderTest, webhooksOn } from './webhooks-under-test.ts'

interface Node extends WebhooksUnderTest {
  readonly log: Log
}

const announcing = 'this node announces'
let redis: RedisServer
let receiver: ReceiverUnderTest
let nodes: Node[]
let made = 0
let document: DocumentId

beforeAll(async () => {
  redis = await startRedisServer()
})

afterAll(() => redis.stop())

beforeEach(async () => {
  await redis.command('FLUSHALL')
  receiver = new ReceiverUnderTest()
  await receiver.start()
  document = documentOf(`nodes/${++made}`)
  nodes = []
})

afterEach(async () => {
  for (const { webhooks, log } of nodes) {
    await webhooks.close()
    await log.close()
  }
  await receiver.stop()
  expect(receiver.doubtful).toEqual([])
})

async function node(choices: Partial<Choices> = {}, around = (log: Log): Log => log): Promise<Node> {
  const log = createRedisLog({ url: redis.url, logger: silentLogger })
  await log.start()
  const started = { ...webhooksOn({ log: around(log), receiver, ...choices }), log }
  nodes.push(started)
  await started.webhooks.start()
  return started
}

const announces = ({ lines }: Node) => lines.filter((line) => line.includes(announcing)).length
const stops = ({ lines }: Node) => lines.filter((line) => line.includes('no longer announces')).length
const begins = (one: Node, times = 1) => until('it announces', () => announces(one) >= times)

async function inOrder(from: number, to: number, by: Node): Promise<void> {
  for (let offset = from; offset <= to; offset++) {
    expect(await change(by.log, document)).toBe(offset)
    await receiver.hasHeard(document, offset)
  }
}

it('one announces, the other does not, and takes over at once when the first is closed', async () => {
  const first = await node()
  await begins(first)
  const second = await node()
  await inOrder(1, 20, second)
  expect(announces(second)).toBe(0)
  expect(receiver.of(document)).toHaveLength(20)
  await first.webhooks.close()
  await begins(second)
  await inOrder(21, 30, first)
  expect(receiver.of(document)).toHaveLength(30)
  expect(await first.count('delivered')).toBe(20)
  await until('the rest by the second', async () => (await second.count('delivered')) === 10)
})

it('keeps the term, by one lease after the other, as long as it lives', async () => {
  const limits = { leaseMs: 2_000, marginMs: 100 }
  const first = await node({ limits })
  await begins(first)
  const untilMs = Date.now() + 2_500
  for (let offset = 1; Date.now() < untilMs; offset++) await inOrder(offset, offset, first)
  expect(announces(first)).toBe(1)
})

it('a node that is cut off from the log stops when its term runs out, and the other does the rest', async () => {
  let cutOff = false
  const cut = (log: Log): Log =>
    new Proxy(log, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name)
        if (typeof value !== 'function') return value
        // It can still load, so nothing but the term stops it.
        const hangs = () => cutOff && name !== 'load' && name !== 'close'
        return (...args: unknown[]) => (hangs() ? new Promise(() => {}) : value.apply(target, args))
      },
    })
  const limits = { leaseMs: 400, marginMs: 100 }
  const first = await node({ limits, concurrency: 1 }, cut)
  await begins(first)
  const second = await node({ limits })
  receiver.answer = () => (response) => void setTimeout(() => response.writeHead(204).end(), 20)
  const documents = Array.from({ length: 60 }, (_, i) => documentOf(`${document}/${i}`))
  await Promise.all(documents.map((each) => change(second.log, each)))
  await until('the first has begun', () => receiver.received.length > 1)
  cutOff = true
  await begins(second)
  const byFirst = await first.count('delivered')
  for (const each of documents) await receiver.hasHeard(each, 1)
  await until('the second has done the rest', async () => (await second.count('delivered')) >= 60 - byFirst)
  expect(byFirst).toBeLessThan(60)
  expect(await first.count('delivered')).toBe(byFirst)
  // A call without an end cannot be closed.
  nodes = nodes.filter((one) => one !== first)
  await first.log.close()
})

it('a node that was stopped for longer than its term sends nothing when it goes on', async () => {
  const settings = { url: receiver.url, secret: secretText, appends: 0, documents: [], redisUrl: redis.url }
  const json = JSON.stringify({ ...settings, debounceMs: 1_000, limits: { leaseMs: 400, marginMs: 50 } })
  const child = spawn(process.execPath, [join(import.meta.dirname, 'writer.mjs'), '', json])
  dieTogether(child)
  const exited = once(child, 'exit')
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data: Buffer) => {
      output += data.toString()
    })
  await until('the process announces', () => output.includes('begun'))
  const other = await node({ limits: { contendMs: 20 } })
  await change(other.log, document)
  const changedMs = performance.now()
  const sequence = (await other.log.changes(0, 10)).at(-1)!.sequence
  await until('the process has read it', () => output.includes(`read ${sequence}`))
  child.kill('SIGSTOP')
  await begins(other)
  await inOrder(2, 4, other)
  await until('it would have been announced', () => performance.now() > changedMs + 1_500)
  const heard = receiver.received.length
  child.kill('SIGCONT')
  await until('the process has noticed', () => output.includes('ended'))
  expect(receiver.received.length).toBe(heard)
  child.kill('SIGTERM')
  await exited
})

it('a holder whose lease another node has stops when it would renew it, and goes on when it has it again', async () => {
  const leaseMs = 800
  const first = await node({ limits: { leaseMs, marginMs: 50 } })
  await begins(first)
  await inOrder(1, 3, first)
  const intruder = createRedisLog({ url: redis.url, logger: silentLogger })
  await intruder.start()
  let lease: Lease | null = null
  // The holder may be faster to take it again.
  await until('the intruder has it', async () => {
    await redis.command('DEL', leaseKey(webhooksDocument))
    lease = await intruder.lease(webhooksDocument, 10_000)
    return lease !== null
  })
  const hasItMs = performance.now()
  // On a busy machine its term may have run out before, and another one begun: none lasts longer than the lease.
  await until('it stops', () => performance.now() - hasItMs > leaseMs && stops(first) >= announces(first))
  const before = announces(first)
  const { offset } = await intruder.load(webhooksDocument)
  await change(intruder, document)
  expect(receiver.of(document)).toHaveLength(3)
  expect((await intruder.load(webhooksDocument)).offset).toBe(offset)
  await (lease as Lease | null)!.release()
  await begins(first, before + 1)
  await receiver.hasHeard(document, 4)
  await intruder.close()
})

it('a position that another node has written in between ends the tenure, and is read again', async () => {
  const first = await node()
  await begins(first)
  await inOrder(1, 2, first)
  await until('stored', async () => (await first.log.load(webhooksDocument)).offset > 1)
  const { tail } = await first.log.load(webhooksDocument)
  await first.log.append(webhooksDocument, [tail.at(-1)!])
  await inOrder(3, 3, first)
  await begins(first, 2)
  await inOrder(4, 5, first)
})

it('goes on after Redis was away and came back, without losing a change', async () => {
  const first = await node()
  await begins(first)
  await inOrder(1, 3, first)
  await redis.kill9()
  await until('the log is away', () => first.log.unavailable() !== null)
  await redis.restart()
  await until('the log is back', () => first.log.unavailable() === null)
  await inOrder(4, 6, first)
})
