/**
 * The shard channels this node listens to, on a connection of their own: a backlog of messages must
 * not stand before the replies to appends. Subscribing and unsubscribing go one batch at a time, in
 * order; a new connection takes up every wanted channel before it counts as up.
 *
 * The sentinel is a channel of this connection only. While Redis counts one listener on it, Redis also
 * holds this node's other subscriptions, so `append` may conclude from "one listener, and mine is
 * confirmed" that nobody else listens. A connection that Redis has dropped, unnoticed here, fails that
 * test and the message is sent.
 */
import { randomBytes } from 'node:crypto'
import type { Logger } from '../../logger.ts'
import { type Client, Connection, type ConnectionLimits, type Whereabouts } from './connection.ts'
import { unavailable } from './failure.ts'
import { requireMaster } from './server-facts.ts'

export const subscribeBatchMax = 500

export interface ChannelsOptions {
  readonly whereabouts: Whereabouts
  readonly logger: Logger
  readonly limits: ConnectionLimits
  onMessage(channel: string, message: Buffer): void
  onUp(): void
  onDown(why: string): void
  onFailed(error: unknown): void
}

interface Waiter {
  resolve(): void
  reject(error: unknown): void
}

export class Channels {
  readonly connection: Connection
  private readonly listener: (message: Buffer, channel: Buffer) => void
  private readonly wanted = new Set<string>()
  private readonly confirmed = new Set<string>()
  private readonly toAdd = new Map<string, Waiter[]>()
  private readonly toRemove = new Set<string>()
  private pumping = false
  /** '' while the connection is down. */
  sentinel = ''

  constructor(options: ChannelsOptions) {
    this.listener = (message, channel) => options.onMessage(channel.toString(), message)
    this.connection = new Connection({
      whereabouts: options.whereabouts,
      name: 'tidemark-channels',
      logger: options.logger,
      limits: options.limits,
      setUp: (client) => this.setUp(client),
      onUp: () => {
        this.pump()
        options.onUp()
      },
      onDown: (why) => {
        this.sentinel = ''
        this.confirmed.clear()
        for (const waiter of [...this.toAdd.values()].flat()) waiter.reject(unavailable(why))
        this.toAdd.clear()
        options.onDown(why)
      },
      onFailed: options.onFailed,
    })
  }

  /** Whether Redis has confirmed this subscription, and it has not been given up since. */
  has(channel: string): boolean {
    return this.confirmed.has(channel)
  }

  /** Resolves once Redis has confirmed; rejects at once while the connection is down. */
  async subscribe(channel: string): Promise<void> {
    if (this.connection.why !== null) throw unavailable(this.connection.why)
    this.wanted.add(channel)
    this.toRemove.delete(channel)
    if (this.confirmed.has(channel)) return
    await new Promise<void>((resolve, reject) => {
      const waiters = this.toAdd.get(channel)
      if (waiters === undefined) this.toAdd.set(channel, [{ resolve, reject }])
      else waiters.push({ resolve, reject })
      this.pump()
    })
  }

  unsubscribe(channel: string): void {
    this.wanted.delete(channel)
    this.confirmed.delete(channel)
    this.toRemove.add(channel)
    this.pump()
  }

  /** From now on `has` is false; the subscription itself ends with `unsubscribe`. */
  renounce(channel: string): void {
    this.confirmed.delete(channel)
  }

  private async setUp(client: Client): Promise<void> {
    await requireMaster(client)
    this.toRemove.clear()
    const channels = [...this.wanted]
    for (let i = 0; i < channels.length; i += subscribeBatchMax)
      await client.sSubscribe(channels.slice(i, i + subscribeBatchMax), this.listener, true)
    const sentinel = `tidemark:node:${randomBytes(12).toString('hex')}`
    await client.sSubscribe(sentinel, this.listener, true)
    this.sentinel = sentinel
    for (const channel of channels) if (this.wanted.has(channel)) this.confirmed.add(channel)
  }

  private pump(): void {
    if (this.pumping) return
    this.pumping = true
    // Everything that is asked for in this turn of the event loop goes into one command.
    setImmediate(() => {
      this.work()
        // The connection is gone; its end rejects who waits and its successor starts from `wanted`.
        .catch(() => {})
        .finally(() => {
          this.pumping = false
          if (this.connection.why === null && this.toAdd.size + this.toRemove.size > 0) this.pump()
        })
    })
  }

  private async work(): Promise<void> {
    while (this.connection.why === null && this.toAdd.size + this.toRemove.size > 0) {
      const client = this.connection.live
      const removed = [...this.toRemove].slice(0, subscribeBatchMax)
      for (const channel of removed) this.toRemove.delete(channel)
      if (removed.length > 0) await client.sUnsubscribe(removed, this.listener, true)
      const added = [...this.toAdd].slice(0, subscribeBatchMax)
      for (const [channel] of added) this.toAdd.delete(channel)
      if (added.length === 0) continue
      try {
        await client.sSubscribe(
          added.map(([channel]) => channel),
          this.listener,
          true,
        )
      } catch (error) {
        for (const [, waiters] of added) for (const waiter of waiters) waiter.reject(error)
        throw error
      }
      for (const [channel, waiters] of added) {
        if (this.wanted.has(channel) && !this.toRemove.has(channel)) this.confirmed.add(channel)
        for (const waiter of waiters) waiter.resolve()
      }
    }
  }
}
