/**
 * The real thing that histories run against: relay processes over a log, and what can be killed of it. A world is started once
 * and serves many histories, each with a document of its own.
 *
 *   embedded   one relay process over the embedded log
 *   redis      two relay processes over one redis-server that syncs each append
 *   tokens     as `embedded`, and tokens that expire within seconds
 *   views      as `redis`, and PostgreSQL, an adapter with rules, and the arbiter
 *
 * Compactions go on all the time: a tail of a few entries is enough. The clock of the second node is wrong by more than a
 * minute, and its way to the stores longer; no merge may depend on it. The disks of logs are slow now and then (slow-disk.ts).
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SignJWT } from 'jose'
import { writeAdapter } from './adapter.ts'
import { automergePrefix } from './clients/automerge.ts'
import { NetworkLine } from './network-line.ts'
import { Program, root } from './program.ts'
import { randomOf } from './random.ts'
import { RedisDisk, slowWrites } from './slow-disk.ts'
import { type Store, startPostgres, startRedis } from './stores.ts'
import { until } from './timeline.ts'

export const worldNames = ['embedded', 'redis', 'tokens', 'views'] as const
export type WorldName = (typeof worldNames)[number]

/** From a node to a store that it shares with others. */
export interface StoreLine {
  readonly node: RelayNode
  readonly store: Store
  readonly line: NetworkLine
}

export interface World {
  readonly storeLines: readonly StoreLine[]
  readonly name: WorldName
  readonly nodes: readonly RelayNode[]
  readonly redis: Store | null
  readonly postgres: Store | null
  /** '' where none is asked for. */
  token(subject: string, seconds: number): Promise<string>
  /** Over HTTP. */
  push(document: string, update: Uint8Array): Promise<void>
  /** Of the adapter that is in place, from 1; 0 without views. */
  readonly adapterVersion: number
  /** A newer adapter is in place for nodes that start from now on. */
  upgrade(): void
  ready(): Promise<void>
  close(): Promise<void>
}

const secret = 'a secret of more than thirty-two bytes, for convergence'
const readyMsMax = 60_000
const skewMs = 90_000
/** Of the second node to the stores. */
const farther = { delayMs: 1, jitterMs: 4, bytesPerSecond: 0 }
const diskSeed = 50
const notesMax = 10
const atOnce = { delayMs: 0, jitterMs: 0, bytesPerSecond: 0 }

const settings: Readonly<Record<string, string>> = {
  HOST: '127.0.0.1',
  PORT: '0',
  LOG_LEVEL: 'info',
  AUTOMERGE_PREFIX: automergePrefix,
  ADAPTERS: './no-adapters',
  COMPACTION_TAIL_COUNT_MAX: '8',
  COMPACTION_INTERVAL_MS: '0',
  ROOM_LINGER_MS: '200',
  // Less than a large paste, so that whoever is slow falls behind and is resynced.
  SESSION_BUFFER_BYTES_MAX: '65536',
  SESSIONS_PER_ADDRESS_MAX: '100000',
  SESSIONS_PER_USER_MAX: '100000',
}

export async function startWorld(name: WorldName): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-convergence-'))
  const closing: (() => Promise<void>)[] = []
  const close = async (): Promise<void> => {
    for (const each of closing.splice(0).reverse()) await each()
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    const usesRedis = name === 'redis' || name === 'views'
    const redis = usesRedis ? await startRedis(join(folder, 'redis')) : null
    if (redis !== null) closing.push(redis.stop)
    const postgres = name === 'views' ? await startPostgres(`${folder}-postgres`) : null
    if (postgres !== null) closing.push(postgres.stop)
    const adapters = join(folder, 'adapters')
    let adapterVersion = 0
    const upgrade = (): void => writeAdapter(adapters, ++adapterVersion)
    if (postgres !== null) upgrade()
    const environment = {
      ...settings,
      DATA_DIR: join(folder, 'data'),
      ...(postgres !== null && { ADAPTERS: adapters }),
      ...(name === 'tokens' && { JWT_SECRET: secret }),
    }
    const disk = new RedisDisk(randomOf(diskSeed))
    const storeLines: StoreLine[] = []
    const nodes: RelayNode[] = []
    for (let i = 0; i < (redis === null ? 1 : 2); i++) {
      const own: Record<string, string> = { ...environment }
      const node = new RelayNode(`node ${i + 1}`, own, i === 0 ? 0 : skewMs)
      for (const [store, variable] of [
        [redis, 'REDIS_URL'],
        [postgres, 'DATABASE_URL'],
      ] as const) {
        if (store === null) continue
        const url = new URL(store.url)
        const port = Number(url.port)
        const held = store === redis ? disk.heldUntilMs : undefined
        const line = await NetworkLine.open(() => port, i === 0 ? atOnce : farther, randomOf(i), held)
        closing.push(() => line.close())
        storeLines.push({ node, store, line })
        url.port = String(line.port)
        own[variable] = url.href
      }
      nodes.push(node)
    }
    for (const node of nodes) {
      await node.start()
      closing.push(() => node.stop())
    }
    const token = async (subject: string, seconds: number): Promise<string> =>
      name === 'tokens' ? tokenOf(subject, seconds) : ''
    return {
      name,
      nodes,
      storeLines,
      redis,
      postgres,
      token,
      async push(document, update) {
        const url = `${nodes[0]!.url}/v1/documents/${encodeURIComponent(document)}/updates`
        const bearer = await token('maker', 60)
        const headers = {
          'content-type': 'application/octet-stream',
          ...(bearer !== '' && { authorization: `Bearer ${bearer}` }),
        }
        const answer = await fetch(url, { method: 'POST', headers, body: Buffer.from(update) })
        if (!answer.ok) throw new Error(`a push of ${document}: ${answer.status} ${await answer.text()}`)
      },
      get adapterVersion() {
        return adapterVersion
      },
      upgrade,
      async ready() {
        for (const node of nodes) await until(`${node.name} is ready`, () => node.isReady(), readyMsMax)
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

async function tokenOf(subject: string, seconds: number): Promise<string> {
  const now = Math.floor(Date.now() / 1000)
  return new SignJWT({ roles: [], documents: [{ match: '**', access: 'write' }] })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(subject)
    .setIssuedAt(now)
    .setExpirationTime(now + seconds)
    .sign(new TextEncoder().encode(secret))
}

export class RelayNode {
  readonly name: string
  /** Errors that it logged since somebody asked. */
  complaints: string[] = []
  /** What it said last about views. */
  readonly notes: string[] = []
  /** Null while it does not run. */
  port: number | null = null
  private program: Program | null = null
  private counted = new Map<string, number>()
  private readonly environment: Readonly<Record<string, string>>
  private readonly skewMs: number

  constructor(name: string, environment: Readonly<Record<string, string>>, skew: number) {
    this.name = name
    this.environment = environment
    this.skewMs = skew
  }

  get pid(): number {
    return this.program?.pid ?? -1
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  async start(): Promise<void> {
    const entry = join(root, 'dist/server/main.js')
    const where = (this.skewMs === 0 ? '' : skewed(this.skewMs)) + slowWrites
    const machine = ['--import', `data:text/javascript,${encodeURIComponent(where)}`]
    const [program, url] = await Program.start({
      command: process.execPath,
      args: [...machine, entry],
      environment: this.environment,
      ready: (line) => {
        const { msg, url: at } = recordOf(line)
        return msg === 'listening' ? String(at) : null
      },
      onLine: (line) => {
        if (line.includes('views') && this.notes.push(line) > notesMax) this.notes.shift()
        if (recordOf(line)['level'] === 'error' || !line.startsWith('{')) this.complaints.push(line)
      },
    })
    this.program = program
    this.counted = new Map()
    this.port = Number(new URL(url).port)
  }

  /** As when its machine is busy, or swaps: it neither works nor ends. */
  async standStill(ms: number): Promise<void> {
    await this.program?.standStill(ms)
  }

  /** Without waiting for its end. */
  killNow(): void {
    this.port = null
    this.program?.signal('SIGKILL')
  }

  async kill9(): Promise<void> {
    this.killNow()
    await this.program?.end('SIGKILL')
  }

  async stop(): Promise<void> {
    this.port = null
    await this.program?.end('SIGTERM')
  }

  async isReady(): Promise<boolean> {
    try {
      return (await fetch(`${this.url}/readyz`)).ok
    } catch {
      // Nobody listens: not ready.
      return false
    }
  }

  /** By name and labels. */
  async metrics(): Promise<ReadonlyMap<string, number>> {
    const text = await (await fetch(`${this.url}/metrics`)).text()
    const lines = text.split('\n').filter((line) => line.startsWith('tidemark_'))
    return new Map(
      lines.map((line) => {
        const end = line.lastIndexOf(' ')
        return [line.slice('tidemark_'.length, end), Number(line.slice(end))]
      }),
    )
  }

  /** How much more a counter says than when this was asked last, of this process. */
  gained(metrics: ReadonlyMap<string, number>, name: string): number {
    const now = metrics.get(name) ?? 0
    const before = this.counted.get(name) ?? 0
    this.counted.set(name, now)
    return now - before
  }
}

/** A line of the relay's log; of anything else that it prints, nothing. */
function recordOf(line: string): Readonly<Record<string, unknown>> {
  return line.startsWith('{') ? (JSON.parse(line) as Record<string, unknown>) : {}
}

const skewed = (ms: number): string => `
const Real = Date
globalThis.Date = class Date extends Real {
  constructor(...given) { given.length === 0 ? super(Real.now() + ${ms}) : super(...given) }
  static now() { return Real.now() + ${ms} }
}
`
