/** What is asked of a Redis server on every connect: its version, how durable its acks are, whether it evicts. */
import type { Logger } from '../../logger.ts'
import type { Durability } from '../log.ts'
import type { Client } from './connection.ts'
import { unavailable } from './failure.ts'

/** 7.0 brought functions, shard channels and `XADD key 0-*`. */
export const serverMajorMin = 7

/** A server that no retry makes fit. */
export class UnsupportedServer extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'UnsupportedServer'
  }
}

export const clusterUnsupported = 'The log does not support Redis Cluster yet: give it a single server'

export interface ServerFacts {
  readonly version: string
  readonly durability: Durability
  /** Another one after every start and every promotion: what was written before may be missing. */
  readonly history: string
}

export async function readServerFacts(client: Client, logger: Logger): Promise<ServerFacts> {
  const server = await info(client, 'server')
  const version = server.get('redis_version') ?? 'of unknown version'
  if (!(Number.parseInt(version, 10) >= serverMajorMin))
    throw new UnsupportedServer(`Redis ${version} is too old: the log needs ${serverMajorMin}.0 or newer`)
  if ((await info(client, 'cluster')).get('cluster_enabled') === '1')
    throw new UnsupportedServer(clusterUnsupported)
  const history = await requireMaster(client)
  const config = await readConfig(client)
  const durability = config === null ? await durabilityFromInfo(client) : durabilityOf(config)
  if (durability === 'memory')
    logger.warn(
      { version, appendonly: config?.get('appendonly'), appendfsync: config?.get('appendfsync') },
      'REDIS KEEPS NO APPEND-ONLY FILE: acknowledged edits are lost with its process. ' +
        'Set appendonly yes and appendfsync everysec or always.',
    )
  if (config?.get('no-appendfsync-on-rewrite') === 'yes' && durability !== 'memory')
    logger.warn(
      {},
      'Redis does not sync its append-only file while it rewrites it: set no-appendfsync-on-rewrite no',
    )
  const policy = config?.get('maxmemory-policy')
  if (policy !== undefined && policy !== 'noeviction')
    logger.warn(
      { policy },
      'Redis may evict documents when it runs out of memory: set maxmemory-policy noeviction',
    )
  return { version, durability, history }
}

/** A replica takes no appends, and what it passes on may be old. Gives the name of the master's history. */
export async function requireMaster(client: Client): Promise<string> {
  const replication = await info(client, 'replication')
  if (replication.get('role') !== 'master') throw unavailable('Redis is a read-only replica')
  return replication.get('master_replid') ?? ''
}

async function info(client: Client, section: string): Promise<Map<string, string>> {
  const text = String(await client.sendCommand(['INFO', section]))
  return new Map(
    text
      .split('\r\n')
      .filter((line) => line.includes(':'))
      .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]),
  )
}

/** Null where the user may not read the configuration, as with managed services. */
async function readConfig(client: Client): Promise<Map<string, string> | null> {
  try {
    const reply = await client.sendCommand([
      'CONFIG',
      'GET',
      'appendonly',
      'appendfsync',
      'maxmemory-policy',
      'no-appendfsync-on-rewrite',
    ])
    const flat: unknown[] = Array.isArray(reply) ? reply : Object.entries(reply as object).flat()
    const config = new Map<string, string>()
    for (let i = 0; i + 1 < flat.length; i += 2) config.set(String(flat[i]), String(flat[i + 1]))
    return config.size === 0 ? null : config
  } catch (error) {
    if (error instanceof Error && /^(NOPERM|ERR)/.test(error.message)) return null
    throw error
  }
}

function durabilityOf(config: ReadonlyMap<string, string>): Durability {
  if (config.get('appendonly') !== 'yes') return 'memory'
  const policy = config.get('appendfsync')
  return policy === 'always' ? 'aof-always' : policy === 'everysec' ? 'aof-everysec' : 'memory'
}

/** INFO tells that there is an append-only file, not how often it is synced: assume Redis's default. */
async function durabilityFromInfo(client: Client): Promise<Durability> {
  const persistence = await info(client, 'persistence')
  return persistence.get('aof_enabled') === '1' ? 'aof-everysec' : 'memory'
}
