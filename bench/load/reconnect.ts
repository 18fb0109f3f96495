/**
 * Clients of tidemark.v1 that come back. For each size: somebody writes a table, waits until it is compacted, writes
 * the edits that the others miss, and stays; then clients come and go one after the other, with what they have.
 *
 * Everybody must be told the head, and the right updates, or it is an error.
 */
import type { Socket } from 'node:net'
import WebSocket from 'ws'
import * as Y from 'yjs'
import { decodeServerMessage } from '../../core/protocol/tidemark-v1/decode.ts'
import { encodeClientMessage } from '../../core/protocol/tidemark-v1/encode.ts'
import {
  type ClientMessage,
  type Have,
  type Opened,
  type ServerMessage,
  subprotocol,
} from '../../core/protocol/tidemark-v1/messages.ts'
import { Assembler, splitMessage } from '../../core/protocol/tidemark-v1/parts.ts'
import { startCpuMeter } from '../harness/cpu.ts'
import type { LoadCase, LoadResult, ReconnectSpec } from './spec.ts'

const partBytes = 64 * 1024
const answerBytesMax = 256 * 1024 * 1024
/** A row of ten cells, as Yjs encodes it, about. */
const rowBytes = 330
const columns = 10
const rowsPerUpdate = 100
const updatesPerPush = 8
/** Compactions of a document are at least two seconds apart. */
const compactedMs = 5_000

type Hear = (message: ServerMessage) => void

class Client {
  private readonly socket: WebSocket
  private readonly assembler = new Assembler(answerBytesMax)
  private awaiting: { readonly kind: ServerMessage['kind']; readonly resolve: Hear } | null = null
  private readonly onBroken: (reason: string) => void
  private wire: Socket | null = null

  constructor({ address }: ReconnectSpec, onBroken: (reason: string) => void) {
    this.onBroken = onBroken
    this.socket = new WebSocket(`ws://${address.host}:${address.port}/v1/sync`, subprotocol)
    this.socket.on('upgrade', (response) => {
      this.wire = response.socket
    })
    this.socket.on('message', (frame: Buffer) => {
      const bytes = this.assembler.take(frame)
      if (bytes === null) return
      const message = decodeServerMessage(bytes)
      if (message.kind === 'nack' || message.kind === 'refused' || message.kind === 'closed')
        this.onBroken(`${message.kind}: ${message.problem.code}`)
      if (message.kind !== this.awaiting?.kind) return
      const { resolve } = this.awaiting
      this.awaiting = null
      resolve(message)
    })
    this.socket.on('error', (error) => onBroken(error.message))
  }

  get wireBytes(): number {
    return (this.wire?.bytesRead ?? 0) + (this.wire?.bytesWritten ?? 0)
  }

  /** One at a time. */
  next<K extends ServerMessage['kind']>(kind: K): Promise<Extract<ServerMessage, { kind: K }>> {
    return new Promise((resolve) => {
      this.awaiting = { kind, resolve: resolve as Hear }
    })
  }

  send(message: ClientMessage): void {
    for (const frame of splitMessage(encodeClientMessage(message), partBytes)) this.socket.send(frame)
  }

  async open(document: string, have: Have): Promise<Opened> {
    await this.next('welcome')
    this.send({ kind: 'open', request: 1, document, engine: 'yjs', token: '', replica: 'bench', have })
    return this.next('opened')
  }

  async end(): Promise<void> {
    const closed = new Promise((resolve) => this.socket.once('close', resolve))
    this.socket.close()
    await closed
  }
}

export async function reconnect(spec: ReconnectSpec, prefix: string): Promise<LoadResult> {
  const errors: string[] = []
  const cases: LoadCase[] = []
  let smallestCpuMs = 0
  for (const documentBytes of spec.documentBytes) {
    const document = `${prefix}-${documentBytes}`
    const written = await write(spec, document, documentBytes, errors)
    const { before, head, bytes } = written
    const size = `${documentBytes / 1e6} MB`
    const asked: readonly [string, Have, (opened: Opened) => boolean][] = [
      [`${size}, missed nothing`, head, ({ catchUp }) => catchUp.kind === 'nothing'],
      [
        `${size}, missed ${spec.editsMissed} edits`,
        before,
        ({ catchUp }) => catchUp.kind === 'entries' && catchUp.updates.length === spec.editsMissed,
      ],
      [
        `${size}, missed ${spec.editsMissed} edits, without an offset`,
        { ...before, offset: 0 as Have['offset'] },
        ({ catchUp }) => catchUp.kind === 'update',
      ],
    ]
    for (const [name, have, isRight] of asked) {
      const come = async (): Promise<number> => {
        const client = new Client(spec, (reason) => errors.push(`${name}: ${reason}`))
        const opened = await client.open(document, have)
        if (opened.offset !== head.offset || !isRight(opened)) errors.push(`${name}: the wrong catch-up`)
        await client.end()
        return client.wireBytes
      }
      // What the server learns of a document, and compiles, at the first time.
      for (let i = 0; i < 20; i++) await come()
      let wireBytes = 0
      const meter = startCpuMeter(spec.serverPid, spec.logPid)
      for (let i = 0; i < spec.times; i++) wireBytes += await come()
      const cpu = meter.stop()
      const cpuMs = cpu.serverMs / spec.times
      if (have === before && smallestCpuMs === 0) smallestCpuMs = cpuMs
      const bytesPerReconnect = wireBytes / spec.times
      cases.push({
        name,
        figures: {
          bytesPerReconnect,
          percentOfDocument: (100 * bytesPerReconnect) / bytes,
          reconnectMs: cpu.wallMs / spec.times,
          serverCpuMsPerReconnect: cpuMs,
          ...(have === before ? { serverCpuToSmallest: cpuMs / smallestCpuMs } : {}),
          ...cpu.figures,
        },
      })
    }
    await written.writer.end()
  }
  return { cases, errors: errors.slice(0, 20) }
}

/** `before`: what a replica has that misses the edits; `head`: one that has them. */
async function write(spec: ReconnectSpec, document: string, documentBytes: number, errors: string[]) {
  const writer = new Client(spec, (reason) => errors.push(`${document}: ${reason}`))
  const doc = new Y.Doc()
  let updates: Uint8Array[] = []
  doc.on('update', (update: Uint8Array) => updates.push(update))
  const empty = { epoch: 0 as Have['epoch'], offset: 0 as Have['offset'], version: Y.encodeStateVector(doc) }
  const { channel, epoch } = await writer.open(document, empty)
  let sequence = 1
  const push = async (): Promise<Have> => {
    let offset = 0
    for (let at = 0; at < updates.length; at += updatesPerPush) {
      const pushed = updates.slice(at, at + updatesPerPush)
      writer.send({ kind: 'push', channel, sequence, updates: pushed })
      sequence += pushed.length
      let acked = 0
      while (acked < sequence - 1) {
        const ack = await writer.next('ack')
        acked = ack.sequence
        offset = ack.offset
      }
    }
    updates = []
    return { epoch, offset: offset as Have['offset'], version: Y.encodeStateVector(doc) }
  }
  const rows = doc.getMap<Y.Map<string>>('rows')
  const rowCount = Math.round(documentBytes / rowBytes)
  for (let from = 0; from < rowCount; from += rowsPerUpdate)
    doc.transact(() => {
      for (let row = from; row < Math.min(rowCount, from + rowsPerUpdate); row++) {
        const cells = new Y.Map<string>()
        for (let column = 0; column < columns; column++) cells.set(`c${column}`, cell(row, column))
        rows.set(`row-${row}`, cells)
      }
    })
  const before = await push()
  const { length: bytes } = Y.encodeStateAsUpdate(doc)
  await new Promise((compacted) => setTimeout(compacted, compactedMs))
  for (let i = 0; i < spec.editsMissed; i++)
    rows.get(`row-${(i * 709) % rowCount}`)!.set(`c${i % columns}`, `changed ${i}`)
  return { writer, bytes, before, head: await push() }
}

function cell(row: number, column: number): string {
  return (Math.imul(row * columns + column + 1, 0x9e3779b1) >>> 0).toString(36).padEnd(12, 'x')
}
