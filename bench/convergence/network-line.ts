/**
 * A TCP line between one client and whatever node it is led to, which fails as networks do. A real connection loses,
 * repeats and reorders nothing by itself: what is lost ends it. What peers see as loss, repetition and disorder comes
 * of connections that end at a bad moment, and that is what this does:
 *
 *   slow      each direction delivers in order, after a delay that varies, and no faster than so many bytes a second
 *   cut       both ends are reset, and what was under way is lost
 *   answer    what was on its way up arrives, and the answer to it does not: the client will say it again
 *   ghost     the client is gone, and what it had sent arrives later, beside its next connection: twice and out of order
 *   freeze    no byte moves and nobody is told, as when a cable is pulled
 *
 * How it fails comes from the seed it was given; nothing is decided by the clock but when bytes are due.
 */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import type { Random } from './random.ts'

export interface Quality {
  readonly delayMs: number
  readonly jitterMs: number
  /** 0: without limit. */
  readonly bytesPerSecond: number
}

/** Both of `performance.now`. */
type HeldUntil = (nowMs: number) => number
const atOnce: HeldUntil = () => 0

export type Cut = 'cut' | 'answer' | 'ghost'

/** Of one direction, before its source is read more slowly. */
const queueBytesMax = 32 * 1024
const ghostMsMax = 600

export class NetworkLine {
  /** A node's port, asked for at each connection; null: nobody is there. */
  target: () => number | null
  quality: Quality
  readonly bytes = { up: 0, down: 0 }
  private readonly heldUntilMs: HeldUntil
  private readonly random: Random
  private readonly server: Server
  private readonly pipes = new Set<Pipe>()
  private frozen = false
  private refusing = false

  private constructor(
    server: Server,
    target: () => number | null,
    quality: Quality,
    random: Random,
    heldUntilMs: HeldUntil,
  ) {
    this.heldUntilMs = heldUntilMs
    this.server = server
    this.target = target
    this.quality = quality
    this.random = random
    server.on('connection', (socket) => this.accept(socket))
  }

  /** `heldUntilMs`: what the node says at a time is held back until then, if that is later. */
  static async open(
    target: () => number | null,
    quality: Quality,
    random: Random,
    heldUntilMs: HeldUntil = atOnce,
  ): Promise<NetworkLine> {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new NetworkLine(server, target, quality, random, heldUntilMs)
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}`
  }

  get broken(): boolean {
    return this.frozen || this.refusing
  }

  /** False when there was no connection to cut. */
  cut(how: Cut): boolean {
    const open = [...this.pipes].filter((pipe) => pipe.open)
    for (const pipe of open) pipe.cut(how, this.random.below(ghostMsMax))
    return open.length > 0
  }

  freeze(): void {
    this.frozen = true
    for (const pipe of this.pipes) pipe.freeze()
  }

  /** No new connections either, until `heal`. */
  refuse(): void {
    this.refusing = true
    this.cut('cut')
  }

  heal(): void {
    this.frozen = false
    this.refusing = false
    for (const pipe of this.pipes) pipe.thaw()
  }

  async close(): Promise<void> {
    this.refusing = true
    for (const pipe of this.pipes) pipe.end()
    this.server.close()
    await once(this.server, 'close')
  }

  private accept(client: Socket): void {
    const port = this.refusing ? null : this.target()
    // A client that loses the race with a cut is reset like any other.
    client.on('error', () => undefined)
    if (port === null) {
      client.resetAndDestroy()
      return
    }
    const { random, quality, bytes, heldUntilMs } = this
    const pipe = new Pipe(client, connect(port, '127.0.0.1'), random, quality, bytes, heldUntilMs)
    if (this.frozen) pipe.freeze()
    this.pipes.add(pipe)
    pipe.onEnd = () => this.pipes.delete(pipe)
  }
}

interface Piece {
  readonly dueMs: number
  readonly bytes: Buffer
}

class Direction {
  private readonly queue: Piece[] = []
  private queuedBytes = 0
  private freeMs = 0
  private timer: NodeJS.Timeout | null = null
  private frozen = false
  private readonly from: Socket
  private readonly to: Socket
  private readonly random: Random
  private readonly quality: Quality
  private readonly heldUntilMs: HeldUntil

  constructor(
    from: Socket,
    to: Socket,
    random: Random,
    quality: Quality,
    heldUntilMs: HeldUntil,
    count: (bytes: number) => void,
  ) {
    this.heldUntilMs = heldUntilMs
    this.from = from
    this.to = to
    this.random = random
    this.quality = quality
    from.on('data', (bytes: Buffer) => {
      count(bytes.length)
      this.take(bytes)
    })
  }

  freeze(): void {
    this.frozen = true
  }

  thaw(): void {
    this.frozen = false
    this.deliver()
  }

  drop(): void {
    this.queue.length = 0
    this.queuedBytes = 0
  }

  /** All at once. */
  flush(): void {
    for (const { bytes } of this.queue.splice(0)) this.to.write(bytes)
  }

  end(): void {
    if (this.timer !== null) clearTimeout(this.timer)
    this.timer = null
    this.drop()
  }

  /** Nothing slows it down, and nothing waits. */
  private get isPlain(): boolean {
    const { delayMs, jitterMs, bytesPerSecond } = this.quality
    return !this.frozen && this.queue.length === 0 && delayMs + jitterMs + bytesPerSecond === 0
  }

  get idle(): boolean {
    return this.queue.length === 0
  }

  private take(bytes: Buffer): void {
    const now = performance.now()
    const heldMs = this.heldUntilMs(now)
    if (this.isPlain && heldMs <= now) {
      this.to.write(bytes)
      return
    }
    const { delayMs, jitterMs, bytesPerSecond } = this.quality
    const sending = bytesPerSecond === 0 ? 0 : (bytes.length / bytesPerSecond) * 1000
    const dueMs = Math.max(this.freeMs, heldMs, now + delayMs + this.random.next() * jitterMs) + sending
    this.freeMs = dueMs
    this.queue.push({ dueMs, bytes })
    this.queuedBytes += bytes.length
    if (this.queuedBytes > queueBytesMax) this.from.pause()
    this.deliver()
  }

  private deliver(): void {
    if (this.timer !== null) clearTimeout(this.timer)
    this.timer = null
    if (this.frozen) return
    const now = performance.now()
    while (this.queue.length > 0 && this.queue[0]!.dueMs <= now) {
      const { bytes } = this.queue.shift()!
      this.queuedBytes -= bytes.length
      this.to.write(bytes)
    }
    if (this.queuedBytes <= queueBytesMax && this.from.isPaused()) this.from.resume()
    const next = this.queue[0]
    if (next !== undefined) this.timer = setTimeout(() => this.deliver(), Math.max(1, next.dueMs - now))
  }
}

class Pipe {
  open = true
  onEnd: () => void = () => undefined
  private readonly client: Socket
  private readonly server: Socket
  private readonly up: Direction
  private readonly down: Direction
  private ghost: NodeJS.Timeout | null = null

  constructor(
    client: Socket,
    server: Socket,
    random: Random,
    quality: Quality,
    bytes: { up: number; down: number },
    heldUntilMs: HeldUntil,
  ) {
    this.client = client
    this.server = server
    client.setNoDelay(true)
    server.setNoDelay(true)
    this.up = new Direction(client, server, random, quality, atOnce, (count) => {
      bytes.up += count
    })
    this.down = new Direction(server, client, random, quality, heldUntilMs, (count) => {
      bytes.down += count
    })
    server.on('error', () => undefined)
    client.on('close', () => this.closing(this.up))
    server.on('close', () => this.closing(this.down))
  }

  freeze(): void {
    this.up.freeze()
    this.down.freeze()
  }

  thaw(): void {
    this.up.thaw()
    this.down.thaw()
  }

  cut(how: Cut, ghostMs: number): void {
    if (!this.open) return
    this.open = false
    this.down.drop()
    if (how === 'cut') return this.end()
    this.client.resetAndDestroy()
    if (how === 'ghost') this.up.freeze()
    this.ghost = setTimeout(
      () => {
        this.up.flush()
        this.server.end(() => this.end())
      },
      how === 'ghost' ? ghostMs : 0,
    )
  }

  end(): void {
    if (this.ghost !== null) clearTimeout(this.ghost)
    this.open = false
    this.up.end()
    this.down.end()
    this.client.resetAndDestroy()
    this.server.resetAndDestroy()
    this.onEnd()
  }

  /** One end has closed: the other learns of it when it has got what was said before. */
  private closing(said: Direction): void {
    if (!this.open) return
    if (said.idle) this.end()
    else setTimeout(() => this.closing(said), 20)
  }
}
