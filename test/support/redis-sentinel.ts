/**
 * A master, its replicas and three Sentinels, all real and on 127.0.0.1: `redis-server` and
 * `redis-server --sentinel`, which count a master as gone after half a second, two of three agreeing.
 *
 * Most of their periods are shortened, so that a failover takes a second or so. Not that of pings: a replica counts as fit
 * to be the master for five of them after it was last looked at, which is once a second while there is none. How long a busy machine may
 * hold a Sentinel up before it distrusts its clock is lengthened.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { dieTogether } from './die-together.ts'
import { freePort } from './free-port.ts'
import {
  answers,
  commandOn,
  type RedisServer,
  type RedisServerOptions,
  redisProgram,
  startRedisServer,
} from './redis-server.ts'
import { until } from './wait.ts'

export interface RedisDeployment {
  readonly url: string
  /** The first began as the master. */
  readonly servers: readonly RedisServer[]
  /** The master as the Sentinels say. */
  master(): Promise<RedisServer>
  /** Resolves when the master is one and has all others as replicas that are in sync. */
  whole(): Promise<void>
  killSentinels(): Promise<void>
  stop(): Promise<void>
}

const sentinelCount = 3
const masterName = 'tidemark'
const periodsMs = { 'info-period': 200, 'ask-period': 100, 'publish-period': 200 }

export async function startRedisDeployment(
  replicas: number,
  options: RedisServerOptions = {},
): Promise<RedisDeployment> {
  const quick = { 'repl-diskless-sync-delay': '0', 'repl-ping-replica-period': '1', ...options }
  const servers = await Promise.all(Array.from({ length: 1 + replicas }, () => startRedisServer(quick)))
  const [first, ...others] = servers
  for (const { command } of others) await command('REPLICAOF', '127.0.0.1', String(first!.port))
  const sentinels: Sentinel[] = []
  for (let i = 0; i < sentinelCount; i++)
    sentinels.push({ port: await freePort(), id: randomBytes(20).toString('hex') })
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-sentinel-'))
  const processes = await Promise.all(sentinels.map((one) => run(one, sentinels, servers, folder)))
  const master = async () => {
    for (const { port } of sentinels) {
      const found = await ask(port, ['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', masterName]).catch(() => null)
      const server = servers.find((one) => String(one.port) === (found as string[] | null)?.[1])
      if (server !== undefined) return server
    }
    throw new Error('no Sentinel answers')
  }
  const killSentinels = async () => {
    for (const one of processes) if (one.exitCode === null && one.signalCode === null) await kill(one)
  }
  const whole = () =>
    until('a master with all its replicas', async () => {
      const info = String(await (await master()).command('INFO', 'replication'))
      return info.includes('role:master') && (info.match(/state=online/g) ?? []).length === replicas
    })
  await whole()
  return {
    url: `redis+sentinel://${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')}/${masterName}`,
    servers,
    master,
    whole,
    killSentinels,
    async stop() {
      await killSentinels()
      rmSync(folder, { recursive: true, force: true })
      await Promise.all(servers.map((server) => server.stop()))
    },
  }
}

interface Sentinel {
  readonly port: number
  readonly id: string
}

/** They are told of each other and of the replicas: to find out takes seconds. */
async function run(
  self: Sentinel,
  all: readonly Sentinel[],
  [first, ...others]: readonly RedisServer[],
  folder: string,
): Promise<ChildProcess> {
  const file = join(folder, `${self.port}.conf`)
  const lines = [
    `port ${self.port}`,
    'bind 127.0.0.1',
    `dir ${folder}`,
    `logfile ${join(folder, `${self.port}.log`)}`,
    `sentinel myid ${self.id}`,
    `sentinel monitor ${masterName} 127.0.0.1 ${first!.port} 2`,
    `sentinel down-after-milliseconds ${masterName} 500`,
    `sentinel failover-timeout ${masterName} 3000`,
    ...others.map(({ port }) => `sentinel known-replica ${masterName} 127.0.0.1 ${port}`),
    ...all
      .filter((one) => one !== self)
      .map(({ port, id }) => `sentinel known-sentinel ${masterName} 127.0.0.1 ${port} ${id}`),
  ]
  writeFileSync(file, `${lines.join('\n')}\n`)
  const program = redisProgram()
  if (program === undefined) throw new Error('Sentinels need a redis-server of their own')
  const process = spawn(program, [file, '--sentinel'], { stdio: 'ignore' })
  dieTogether(process, folder)
  if (!(await answers(process, self.port))) throw new Error('redis-server --sentinel did not start')
  const periods = Object.entries({ ...periodsMs, 'tilt-trigger': 60_000 })
    .flat()
    .map(String)
  await ask(self.port, ['SENTINEL', 'DEBUG', ...periods])
  return process
}

async function kill(process: ChildProcess): Promise<void> {
  const exited = once(process, 'exit')
  process.kill('SIGKILL')
  await exited
}

function ask(port: number, args: string[]): Promise<unknown> {
  return commandOn(`redis://127.0.0.1:${port}`, args)
}
