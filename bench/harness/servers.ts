/**
 * The servers that a question may compare, each started fresh for each run, with an empty log (or the copy
 * of a prepared one) in a temporary folder of its own, and stopped after it.
 */
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Address } from '../load/socket.ts'
import type { Endpoint } from '../load/spec.ts'
import { freePort, type ServerProcess, startProcess } from './processes.ts'
import { root } from './root.ts'

export type LogName = 'embedded' | 'redis-everysec' | 'redis-always'
/** With persistence on, but for `y-websocket`. */
export type PeerName =
  | 'y-websocket'
  | 'y-websocket-leveldb'
  | 'hocuspocus-sqlite'
  | 'hocuspocus-redis'
  | 'automerge-repo'
/** The relay with its log embedded, through its doors for the clients of Hocuspocus and of automerge-repo. */
export type DoorName = 'embedded-hocuspocus' | 'embedded-automerge'
export type ServerName = 'raw-each' | 'raw-joined' | 'raw-bytes' | DoorName | PeerName | LogName

export const logNames: readonly LogName[] = ['embedded', 'redis-everysec', 'redis-always']
/** All that can be compared with the raw ones. */
export const servers: readonly ServerName[] = [
  ...logNames,
  'embedded-hocuspocus',
  'embedded-automerge',
  'y-websocket',
  'y-websocket-leveldb',
  'hocuspocus-sqlite',
  'hocuspocus-redis',
  'automerge-repo',
]

/** Whose clients are automerge-repo's: they are asked the same questions with loads of their own. */
export const automergeServers: readonly ServerName[] = ['embedded-automerge', 'automerge-repo']

export interface RunningServer extends Endpoint {
  readonly serverPid: number
  /** Redis, where the log is a process of its own. */
  readonly logPid: number | null
  readonly metricsUrl: string | null
  readonly dataDir: string
  /** By this process's clock. */
  readonly spawnedMs: number
  /** The end of what it wrote: its errors are the run's. */
  output(): string
  /** Ends it and leaves its folder. */
  halt(): Promise<void>
  /** Ends it and removes its folder. */
  stop(): Promise<void>
}

/** Several relays on one Redis. */
export interface RunningNodes {
  readonly addresses: readonly Address[]
  readonly serverPids: readonly number[]
  readonly logPid: number
  output(): string
  stop(): Promise<void>
}

export interface StartOptions {
  /** Where the relay's CPU profile goes, or null for none. */
  readonly profileDir: string | null
  /** The folder of a halted server of the same name: start from a copy of what it stored. */
  readonly copyOf?: string
  /** Settings of the relay that differ from its defaults. */
  readonly relaySettings?: Readonly<Record<string, string>>
}

const rawEntry = fileURLToPath(new URL('../raw-server.js', import.meta.url))
const relayEntry = fileURLToPath(new URL('../../server/main.js', import.meta.url))
/** Installed by themselves: nobody who only builds the relay needs them. */
export const peersFolder = `${root}bench/peers`

export function peersAreInstalled(): boolean {
  return existsSync(`${peersFolder}/node_modules`)
}

export function relayIsBuilt(): boolean {
  return existsSync(relayEntry)
}

export async function startServer(name: ServerName, options: StartOptions): Promise<RunningServer> {
  const dataDir = mkdtempSync(join(tmpdir(), 'tidemark-bench-'))
  const stops: (() => Promise<void>)[] = []
  const halt = async () => {
    for (const each of stops.splice(0).reverse()) await each()
  }
  const stop = async () => {
    await halt()
    rmSync(dataDir, { recursive: true, force: true })
  }
  try {
    if (options.copyOf !== undefined) cpSync(options.copyOf, dataDir, { recursive: true })
    const spawnedMs = performance.now()
    const server = await start(name, dataDir, options, stops)
    return { ...server, dataDir, spawnedMs, halt, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

export async function startNodes(count: number, options: StartOptions): Promise<RunningNodes> {
  const dataDir = mkdtempSync(join(tmpdir(), 'tidemark-bench-'))
  const stops: (() => Promise<void>)[] = []
  const stop = async () => {
    for (const each of stops.splice(0).reverse()) await each()
    rmSync(dataDir, { recursive: true, force: true })
  }
  try {
    const redis = await startRedis(dataDir, 'everysec')
    stops.push(redis.stop)
    const nodes: Started[] = []
    for (let i = 0; i < count; i++)
      nodes.push(await startRelay(dataDir, { REDIS_URL: redis.url }, redis.pid, options, stops))
    return {
      addresses: nodes.map((node) => node.address),
      serverPids: nodes.map((node) => node.serverPid),
      logPid: redis.pid,
      output: () => nodes.map((node) => node.output()).join('\n'),
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

type Started = Omit<RunningServer, 'dataDir' | 'spawnedMs' | 'halt' | 'stop'>

async function start(
  name: ServerName,
  dataDir: string,
  options: StartOptions,
  stops: (() => Promise<void>)[],
): Promise<Started> {
  switch (name) {
    case 'raw-each':
    case 'raw-bytes':
    case 'raw-joined': {
      const [server, url] = await startProcess(process.execPath, [rawEntry, name.slice(4)], {}, listening)
      stops.push(server.stop)
      return { ...peer(server, addressOf(url)), handshake: false }
    }
    case 'y-websocket':
    case 'y-websocket-leveldb': {
      const port = await freePort()
      const env: Record<string, string> = { HOST: '127.0.0.1', PORT: String(port) }
      if (name === 'y-websocket-leveldb') env['YPERSISTENCE'] = join(dataDir, 'data')
      const entry = `${peersFolder}/node_modules/y-websocket/bin/server.cjs`
      const [server] = await startProcess(process.execPath, [entry], env, (line) =>
        line.startsWith('running at') ? line : null,
      )
      stops.push(server.stop)
      return peer(server, { host: '127.0.0.1', port })
    }
    case 'hocuspocus-sqlite':
    case 'hocuspocus-redis': {
      const redis = name === 'hocuspocus-redis' ? await startRedis(dataDir, 'everysec') : null
      if (redis !== null) stops.push(redis.stop)
      const entry = [`${peersFolder}/hocuspocus.mjs`, join(dataDir, 'data.sqlite')]
      const env = redis === null ? {} : { REDIS_URL: redis.url }
      const [server, url] = await startProcess(process.execPath, entry, env, listening)
      stops.push(server.stop)
      return { ...peer(server, addressOf(url)), hocuspocusPath: '', logPid: redis?.pid ?? null }
    }
    case 'automerge-repo': {
      const entry = [`${peersFolder}/automerge-repo.mjs`, join(dataDir, 'data')]
      const [server, url] = await startProcess(process.execPath, entry, {}, listening)
      stops.push(server.stop)
      return { ...peer(server, addressOf(url)), automergePath: '' }
    }
    case 'embedded-hocuspocus': {
      const relay = await startRelay(dataDir, {}, null, options, stops)
      return { ...relay, hocuspocusPath: 'hocuspocus' }
    }
    case 'embedded-automerge': {
      const relay = await startRelay(dataDir, {}, null, options, stops)
      return { ...relay, automergePath: 'automerge' }
    }
    case 'embedded':
      return startRelay(dataDir, {}, null, options, stops)
    case 'redis-everysec':
    case 'redis-always': {
      const redis = await startRedis(dataDir, name === 'redis-always' ? 'always' : 'everysec')
      stops.push(redis.stop)
      return startRelay(dataDir, { REDIS_URL: redis.url }, redis.pid, options, stops)
    }
  }
}

const peer = ({ pid, output }: ServerProcess, address: Address): Started => ({
  address,
  handshake: true,
  serverPid: pid,
  output,
  logPid: null,
  metricsUrl: null,
})

/** All load comes from one address, and faster than any person's. */
const unthrottled = {
  SESSION_MESSAGES_PER_SECOND_MAX: '100000000',
  SESSION_BYTES_PER_SECOND_MAX: '17179869184',
  SESSIONS_PER_ADDRESS_MAX: '1000000',
  SESSIONS_PER_USER_MAX: '1000000',
}

async function startRelay(
  dataDir: string,
  extra: Readonly<Record<string, string>>,
  logPid: number | null,
  options: StartOptions,
  stops: (() => Promise<void>)[],
): Promise<Started> {
  const profile =
    options.profileDir === null
      ? []
      : ['--cpu-prof', '--cpu-prof-interval', '500', '--cpu-prof-dir', options.profileDir]
  const env = {
    HOST: '127.0.0.1',
    PORT: '0',
    DATA_DIR: join(dataDir, 'data'),
    // Those of the checkout would be measured along.
    ADAPTERS: './no-adapters',
    NODE_ENV: 'production',
    ...unthrottled,
    ...options.relaySettings,
    ...extra,
  }
  const [server, url] = await startProcess(process.execPath, [...profile, relayEntry], env, listening)
  stops.push(server.stop)
  const metricsUrl = new URL('/metrics', url.replace(/^ws/, 'http')).href
  return { ...peer(server, addressOf(url)), logPid, metricsUrl }
}

export async function startRedis(
  dataDir: string,
  fsync: 'everysec' | 'always',
): Promise<{ url: string; pid: number; stop: ServerProcess['stop'] }> {
  const port = await freePort()
  const settings = ['--port', String(port), '--bind', '127.0.0.1', '--dir', dataDir, '--save', '']
  const [server] = await startProcess(
    'redis-server',
    [...settings, '--appendonly', 'yes', '--appendfsync', fsync],
    {},
    (line) => (line.includes('Ready to accept connections') ? line : null),
  )
  return { url: `redis://127.0.0.1:${port}`, pid: server.pid, stop: server.stop }
}

/** The relay's and the raw server's first line that matters: `{"msg": "listening", "url": …}`. */
function listening(line: string): string | null {
  if (!line.startsWith('{')) return null
  const record = JSON.parse(line) as { msg?: unknown; url?: unknown }
  return record.msg === 'listening' && typeof record.url === 'string' ? record.url : null
}

function addressOf(url: string): Address {
  const { hostname, port } = new URL(url)
  return { host: hostname, port: Number(port) }
}

/** `folder`: of the project in which it is installed. */
export function versionOf(packageName: string, folder = root): string {
  const path = `${folder}/node_modules/${packageName}/package.json`
  return (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version
}
