/**
 * Where the master is, as the Sentinels tell: the one place that answers "which address now".
 *
 *   find     before each dial: asks one after the other, whoever answered last goes first
 *   watch    all the time, a connection to each Sentinel: `+switch-master`, and a question every second
 *   holds    whether a connection still stands on the master; the log drops those that do not
 *
 * Each answer comes with the epoch of the Sentinels' last failover. The highest one wins, and is forgotten only
 * when no Sentinel has confirmed it for `sentinelTrustMs`, so one that was cut off together with the old
 * master cannot lead this node back; and all of them are watched, so it cannot hide a failover either. A master that was cut off and takes itself for one
 * still is left when the first Sentinel tells, not when it finds out.
 *
 * Without any Sentinel the connections that stand go on, and new dials fail with the reason. Whether the
 * server at the address is a master is asked there (server-facts.ts): Sentinels learn a moment late.
 *
 * Rejected: the client's own Sentinel support, which reconnects and resubscribes without telling
 * (connection.ts), and takes the first answer whatever its epoch.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from 'redis'
import type { Logger } from '../../logger.ts'
import { nameOf, type Place, type SentinelAddress, sentinelUrl, serverUrl } from './address.ts'
import type { Whereabouts } from './connection.ts'
import { toTidemarkError, unavailable } from './failure.ts'

export interface SentinelLimits {
  /** To connect to a Sentinel and have its answer; then the next one is asked. */
  readonly sentinelMsMax: number
  /** How often each is asked while nothing is heard. */
  readonly sentinelIntervalMs: number
  /** A dial does not believe an older answer until so long after the last that confirmed what is known. */
  readonly sentinelTrustMs: number
  readonly backoffMsMin: number
  readonly backoffMsMax: number
}

export const sentinelLimits = { sentinelMsMax: 1_000, sentinelIntervalMs: 1_000, sentinelTrustMs: 10_000 }

export interface SentinelsOptions {
  readonly address: SentinelAddress
  readonly logger: Logger
  readonly limits: SentinelLimits
  /** The master is another one: `holds` of the old one is false from now on. */
  onMoved(): void
}

/** What a Sentinel says: the master, as of which failover. */
interface Told {
  readonly place: Place
  readonly epoch: number
}

function newClient(url: string, limits: SentinelLimits) {
  return createClient({
    url,
    name: 'tidemark-sentinel',
    RESP: 3,
    disableOfflineQueue: true,
    maintNotifications: 'disabled',
    socket: { reconnectStrategy: false, connectTimeout: limits.sentinelMsMax },
  })
}

type Client = ReturnType<typeof newClient>

export class Sentinels implements Whereabouts {
  private readonly options: SentinelsOptions
  /** Whoever answered last comes first. */
  private order: readonly Place[]
  private known: Told | null = null
  private confirmedAt = 0
  private readonly closing = new AbortController()
  private readonly clients = new Set<Client>()
  private readonly watched = new Set<Place>()
  private watching: Promise<unknown> | null = null

  constructor(options: SentinelsOptions) {
    this.options = options
    this.order = options.address.sentinels
  }

  start(): void {
    this.watching ??= Promise.all(this.options.address.sentinels.map((place) => this.watch(place)))
  }

  async close(): Promise<void> {
    this.closing.abort()
    for (const client of this.clients) client.destroy()
    await this.watching
  }

  holds(url: string): boolean {
    return this.known !== null && url === serverUrl(this.options.address, this.known.place)
  }

  /** The URL of the master. */
  async find(): Promise<string> {
    const { address } = this.options
    let best: { readonly told: Told; readonly from: Place } | null = null
    let why = ''
    for (const from of this.order) {
      if (this.closing.signal.aborted) break
      try {
        const told = await this.askOnce(from)
        if (best === null || told.epoch > best.told.epoch) best = { told, from }
        if (told.epoch >= (this.known?.epoch ?? 0)) break
      } catch (error) {
        why = toTidemarkError(error).message
      }
    }
    if (best === null) throw unavailable(`No Sentinel tells which Redis is the master: ${why}`)
    const { told, from } = best
    if (!this.believes(told))
      throw unavailable('The Sentinels that answer know of fewer failovers than others did')
    this.order = [from, ...this.order.filter((place) => place !== from)]
    this.adopt(told)
    return serverUrl(address, told.place)
  }

  private believes(told: Told): boolean {
    if (this.known === null || told.epoch >= this.known.epoch) return true
    return performance.now() - this.confirmedAt > this.options.limits.sentinelTrustMs
  }

  private adopt(told: Told): void {
    const before = this.known
    this.known = told
    this.confirmedAt = performance.now()
    if (before === null || nameOf(before.place) === nameOf(told.place)) return
    this.options.logger.warn(
      { master: nameOf(told.place), before: nameOf(before.place) },
      'redis master moved',
    )
    this.options.onMoved()
  }

  private async askOnce(place: Place): Promise<Told> {
    return this.connected(place, (client) => this.ask(client))
  }

  private async connected<T>(place: Place, work: (client: Client) => Promise<T>): Promise<T> {
    const { address, limits } = this.options
    const client = newClient(sentinelUrl(address, place), limits)
    // What was asked on the connection rejects by itself.
    client.on('error', () => {})
    this.clients.add(client)
    try {
      await this.inTime(client, client.connect())
      if (this.closing.signal.aborted) throw unavailable('The log is closed')
      return await work(client)
    } finally {
      this.clients.delete(client)
      client.destroy()
    }
  }

  /** Both questions leave together; no failover comes between their answers. */
  private async ask(client: Client): Promise<Told> {
    const { masterName } = this.options.address
    const questions = Promise.all([
      client.sendCommand(['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', masterName]),
      client.sendCommand(['SENTINEL', 'MASTER', masterName]),
    ])
    const [found, master] = await this.inTime(client, questions).catch((error: unknown) => {
      if (!/no such master/i.test(String(error))) throw error
      throw unavailable(`the Sentinels know none of the name ${masterName}`)
    })
    const [host, port] = Array.isArray(found) ? found.map(String) : []
    if (host === undefined || !Number(port))
      throw unavailable(`the Sentinels know none of the name ${masterName}`)
    return { place: { host, port: Number(port) }, epoch: Number(fieldsOf(master).get('config-epoch') ?? 0) }
  }

  /** Destroys the client, which rejects what is asked on it, when an answer does not come. */
  private async inTime<T>(client: Client, work: Promise<T>): Promise<T> {
    const late = unavailable('no answer in time')
    let timer: NodeJS.Timeout | undefined
    const timeout = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(late), this.options.limits.sentinelMsMax)
    })
    try {
      return await Promise.race([work, timeout])
    } catch (error) {
      if (error === late) client.destroy()
      throw error
    } finally {
      clearTimeout(timer)
      // After the time limit nobody else waits for it.
      work.catch(() => {})
    }
  }

  // --- watching --------------------------------------------------------------------------------

  private async watch(place: Place): Promise<void> {
    const { limits, logger } = this.options
    const { signal } = this.closing
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        await this.connected(place, async (client) => {
          await this.inTime(
            client,
            client.subscribe('+switch-master', () => this.listen(client)),
          )
          this.watched.add(place)
          for (attempt = 0; !signal.aborted; ) {
            this.hear(await this.ask(client))
            await sleep(limits.sentinelIntervalMs, undefined, { signal })
          }
        })
      } catch (error) {
        if (signal.aborted) return
        logger.debug(
          { sentinel: nameOf(place), why: toTidemarkError(error).message },
          'sentinel cannot be watched',
        )
        if (this.watched.delete(place) && this.watched.size === 0)
          logger.warn({}, 'no Sentinel can be watched: a failover would go unnoticed')
      }
      const ceiling = Math.min(limits.backoffMsMax, limits.backoffMsMin * 2 ** Math.min(attempt, 16))
      // The rejection can only be the abort, which the loop's condition sees.
      await sleep(Math.random() * ceiling, undefined, { signal }).catch(() => {})
    }
  }

  /** Something switched, this master or another: ask, for the message tells no epoch. */
  private listen(client: Client): void {
    this.ask(client).then(
      (told) => this.hear(told),
      // The next regular question meets the same, and ends the connection.
      () => {},
    )
  }

  /** Without a dial nobody needs to know; an older epoch is what somebody cut off still believes. */
  private hear(told: Told): void {
    if (this.known !== null && told.epoch >= this.known.epoch) this.adopt(told)
  }
}

function fieldsOf(reply: unknown): Map<string, string> {
  const flat: unknown[] = Array.isArray(reply) ? reply : Object.entries(reply as object).flat()
  const fields = new Map<string, string>()
  for (let i = 0; i + 1 < flat.length; i += 2) fields.set(String(flat[i]), String(flat[i + 1]))
  return fields
}
