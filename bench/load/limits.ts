/**
 * What making bytes durable costs at the least: the entries of 500 documents, one typing update each,
 * in turn, with a bounded number of them not yet durable. One process for each limit, as a server would be.
 *
 * - `lmdb`: a put for each entry; done when LMDB says the commit is flushed.
 * - `journal`: one file opened with O_DSYNC; what came while a write was under way is the next write.
 * - `redis`: XADD pipelined by npm redis; done at the reply (what that is worth is Redis's AOF policy).
 * - `resp`: the same commands written by hand, a group a write, replies counted by their line ends: what
 *   Redis itself takes, without the client's cost.
 */
import { constants } from 'node:fs'
import { open as openFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { open as openLmdb } from 'lmdb'
import { createClient } from 'redis'
import { startCpuMeter } from '../harness/cpu.ts'
import { writeTypingUpdate } from './frames.ts'
import type { LoadResult } from './spec.ts'

export interface LimitSpec {
  readonly limit: 'lmdb' | 'journal' | 'redis' | 'resp'
  readonly dir: string
  readonly redisUrl: string | null
  readonly redisPid: number | null
  /** Entries that become durable together; two such groups may be under way. */
  readonly groupEntries: number
  readonly measureMs: number
}

const documentCount = 500
const entryHeaderBytes = 16
const errorReply = 0x2d
const lineEnd = 10
const respEnd = Buffer.from('\r\n')

/** Makes one group durable. */
type Group = (from: number, count: number) => Promise<unknown>

function updateAt(sequence: number): Buffer {
  const bytes = Buffer.allocUnsafe(64)
  const document = sequence % documentCount
  const clock = Math.floor(sequence / documentCount)
  return bytes.subarray(0, writeTypingUpdate(bytes, 0, 1_000_000_000 + document, clock))
}

async function lmdb(dir: string): Promise<[Group, () => Promise<void>]> {
  const root = openLmdb({ path: join(dir, 'limit.lmdb') })
  const entries = root.openDB<Buffer, [string, number]>({ name: 'entries', encoding: 'binary' })
  const group: Group = async (from, count) => {
    let last: Promise<boolean> | null = null
    for (let i = from; i < from + count; i++) {
      const offset = Math.floor(i / documentCount) + 1
      last = entries.put([`bench-document-${i % documentCount}`, offset], updateAt(i))
    }
    await last
    await entries.flushed
  }
  return [group, () => root.close()]
}

async function journal(dir: string): Promise<[Group, () => Promise<void>]> {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_DSYNC
  const file = await openFile(join(dir, 'limit.journal'), flags)
  let previous: Promise<unknown> = Promise.resolve()
  const group: Group = (from, count) => {
    const parts: Buffer[] = []
    for (let i = from; i < from + count; i++) {
      const update = updateAt(i)
      const header = Buffer.allocUnsafe(entryHeaderBytes)
      header.writeUInt32LE(update.length, 0)
      header.writeUInt32LE(i % documentCount, 4)
      header.writeUInt32LE(Math.floor(i / documentCount) + 1, 8)
      header.writeUInt32LE(0, 12)
      parts.push(header, update)
    }
    const bytes = Buffer.concat(parts)
    const written = previous.then(() => file.write(bytes))
    previous = written
    return written
  }
  return [group, () => file.close()]
}

async function redis(url: string): Promise<[Group, () => Promise<void>]> {
  const client = createClient({ url })
  await client.connect()
  const group: Group = (from, count) =>
    Promise.all(
      Array.from({ length: count }, (_, i) =>
        client.sendCommand([
          'XADD',
          `bench-document-${(from + i) % documentCount}`,
          '0-*',
          'u',
          updateAt(from + i),
        ]),
      ),
    )
  return [group, () => client.close()]
}

function resp(url: string): Promise<[Group, () => Promise<void>]> {
  const { hostname, port } = new URL(url)
  const waiting: { replies: number; done: () => void; failed: (error: Error) => void }[] = []
  const socket = connect(Number(port), hostname)
  socket.on('data', (data: Buffer) => {
    if (data[0] === errorReply) waiting.shift()?.failed(new Error(data.toString('latin1')))
    // A stream id is a bulk string: a line for its length, a line for itself.
    for (let at = data.indexOf(lineEnd); at >= 0; at = data.indexOf(lineEnd, at + 1)) {
      const first = waiting[0]
      if (first === undefined || --first.replies > 0) continue
      waiting.shift()
      first.done()
    }
  })
  socket.on('error', (error) => {
    for (const each of waiting.splice(0)) each.failed(error)
  })
  const group: Group = (from, count) =>
    new Promise<void>((done, failed) => {
      const parts: Buffer[] = []
      for (let i = from; i < from + count; i++) {
        const key = `bench-document-${i % documentCount}`
        const update = updateAt(i)
        const head = `*5\r\n$4\r\nXADD\r\n$${key.length}\r\n${key}\r\n$3\r\n0-*\r\n$1\r\nu\r\n$${update.length}\r\n`
        parts.push(Buffer.from(head, 'latin1'), update, respEnd)
      }
      waiting.push({ replies: count * 2, done, failed })
      socket.write(Buffer.concat(parts))
    })
  const close = async () => {
    socket.destroy()
  }
  return new Promise((resolve) => socket.once('connect', () => resolve([group, close])))
}

function openLimit(spec: LimitSpec): Promise<[Group, () => Promise<void>]> {
  switch (spec.limit) {
    case 'lmdb':
      return lmdb(spec.dir)
    case 'journal':
      return journal(spec.dir)
    case 'redis':
      return redis(spec.redisUrl!)
    case 'resp':
      return resp(spec.redisUrl!)
  }
}

async function measure(spec: LimitSpec): Promise<LoadResult> {
  const [group, close] = await openLimit(spec)
  let next = 0
  let durable = 0
  let ended = false
  const loop = async () => {
    while (!ended) {
      const from = next
      next += spec.groupEntries
      await group(from, spec.groupEntries)
      durable += spec.groupEntries
    }
  }
  const loops = [loop(), loop()]
  await new Promise((resolve) => setTimeout(resolve, 500))
  const meter = startCpuMeter(process.pid, spec.redisPid)
  const before = durable
  await new Promise((resolve) => setTimeout(resolve, spec.measureMs))
  const cpu = meter.stop()
  const appendsPerSecond = ((durable - before) / cpu.wallMs) * 1000
  ended = true
  await Promise.all(loops)
  await close()
  return {
    cases: [{ name: `groups of ${spec.groupEntries}`, figures: { appendsPerSecond, ...cpu.figures } }],
    errors: [],
  }
}

process.once('message', (spec: LimitSpec) => {
  measure(spec)
    .catch((error: unknown): LoadResult => ({ cases: [], errors: [String(error)] }))
    .then((result) => process.send!(result, () => process.exit(0)))
    .catch(() => process.exit(1))
})
