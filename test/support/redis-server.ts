/**
 * A real redis-server for one test file: its own folder, its own free port on 127.0.0.1, no snapshots,
 * an append-only file unless the options say otherwise.
 *
 * - `startRedisServer` resolves when the server answers; `kill9` when the process is gone; `restart`
 *   starts it again on the same port and folder, also after `kill9`. `pause` and `resume` stop and
 *   continue the process: a server that is there and says nothing.
 * - `stop` removes the folder. A test process that ends without it, even by kill -9, takes the server and
 *   the folder with it: a shell waits for the end of a pipe that only this process holds.
 *
 * Where no program can be found but TEST_REDIS_URL names a server, its database is emptied and given; such
 * a server cannot be killed, and a test that tries fails.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from 'redis'
import { findProgram, programs } from '../../scripts/programs.mjs'
import { dieTogether } from './die-together.ts'
import { freePort } from './free-port.ts'

export interface RedisServer {
  readonly url: string
  readonly port: number
  stop(): Promise<void>
  kill9(): Promise<void>
  restart(): Promise<void>
  pause(): void
  resume(): void
  /** One command on a connection of its own, the reply as the client gives it. */
  command(...args: (string | Buffer)[]): Promise<unknown>
}

/** Directives of redis.conf, such as `{ appendfsync: 'always' }`. */
export type RedisServerOptions = Readonly<Record<string, string>>

const startDeadlineMs = 100_000
const startAttemptsMax = 20

export async function startRedisServer(options: RedisServerOptions = {}): Promise<RedisServer> {
  const program = redisProgram()
  if (program === undefined) return givenServer(process.env['TEST_REDIS_URL'] ?? '')
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-redis-'))
  const port = await freePort()
  const url = `redis://127.0.0.1:${port}`
  const directives = { appendonly: 'yes', appendfsync: 'everysec', save: '', ...options }
  const run = () => runServer(program, folder, port, directives)
  let running = await run()
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (running.exitCode === null && running.signalCode === null) {
      const exited = once(running, 'exit')
      running.kill('SIGCONT')
      running.kill(signal)
      await exited
    }
  }
  return {
    url,
    port,
    command: (...args) => commandOn(url, args),
    kill9: () => end('SIGKILL'),
    pause: () => void running.kill('SIGSTOP'),
    resume: () => void running.kill('SIGCONT'),
    async restart() {
      await end('SIGTERM')
      running = await run()
    },
    async stop() {
      await end('SIGKILL')
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

export function redisProgram(): string | undefined {
  const program = programs.find(({ label }) => label === 'Redis')
  if (program === undefined) throw new Error('scripts/programs.mjs does not list Redis')
  const { path, reason } = findProgram(program)
  if (path === undefined && !process.env['TEST_REDIS_URL']) throw new Error(`${reason}; see npm test`)
  return path === undefined ? undefined : path.endsWith('redis-server') ? path : join(path, 'redis-server')
}

async function runServer(
  program: string,
  folder: string,
  port: number,
  directives: Readonly<Record<string, string>>,
): Promise<ChildProcess> {
  const logFile = join(folder, 'redis.log')
  const fixed = {
    port: String(port),
    bind: '127.0.0.1',
    dir: folder,
    logfile: logFile,
    'enable-debug-command': 'local',
  }
  const args = Object.entries({ ...fixed, ...directives }).flatMap(([name, value]) => [`--${name}`, value])
  for (let attempt = 1; ; attempt++) {
    const server = spawn(program, args, { stdio: 'ignore' })
    dieTogether(server, folder)
    if (await answers(server, port)) return server
    server.kill('SIGKILL')
    const log = existsSync(logFile) ? readFileSync(logFile, 'utf8').slice(-2_000) : ''
    // The port of a server that was just killed can stay taken for a moment.
    if (attempt === startAttemptsMax || !log.includes('Address already in use'))
      throw new Error(`redis-server did not start:\n${log}`)
    await sleep(50 + Math.random() * 100)
  }
}

/** True once the server has loaded its data; false when its process ended first. */
export async function answers(server: ChildProcess, port: number): Promise<boolean> {
  const deadline = performance.now() + startDeadlineMs
  while (performance.now() < deadline) {
    if (server.exitCode !== null || server.signalCode !== null) return false
    if (await ping(port)) return true
    await sleep(10)
  }
  return false
}

function ping(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'))
    socket.setTimeout(1_000, () => socket.destroy())
    socket.once('data', (data) => {
      resolve(/^(\+PONG|-NOAUTH)/.test(data.toString()))
      socket.destroy()
    })
    // A refused connection is the answer "not yet"; 'close' follows.
    socket.on('error', () => {})
    socket.once('close', () => resolve(false))
  })
}

export async function commandOn(url: string, args: (string | Buffer)[]): Promise<unknown> {
  const client = createClient({ url, socket: { reconnectStrategy: false } })
  // A lost connection rejects the command itself.
  client.on('error', () => {})
  await client.connect()
  try {
    return await client.sendCommand(args)
  } finally {
    client.destroy()
  }
}

async function givenServer(url: string): Promise<RedisServer> {
  await commandOn(url, ['FLUSHDB'])
  const cannot = (): never => {
    throw new Error('The server of TEST_REDIS_URL is not ours to stop; install redis-server')
  }
  return {
    url,
    port: Number(new URL(url).port || 6379),
    command: (...args) => commandOn(url, args),
    kill9: async () => cannot(),
    restart: async () => cannot(),
    pause: cannot,
    resume: cannot,
    stop: async () => {},
  }
}
