/**
 * A real PostgreSQL for one test file: its own data folder, its own free port on 127.0.0.1, fsync on.
 *
 * - `start` resolves when the server accepts connections; `kill9` when the process is gone. `restart`
 *   starts it again on the same folder and port, after `kill9` or in place of a running one.
 * - PostgreSQL refuses to run as root. Where the tests run as root, initdb and the server run as the
 *   user `postgres`, else `nobody`, who owns the data folder.
 * - `stop` removes the data folder. A test process that ends without it, even by kill -9, takes the server
 *   and the folder with it: a shell waits for the end of a pipe that only this process holds.
 *
 * Where no program can be found but TEST_DATABASE_URL names a server, `start` gives that URL; such a
 * server cannot be killed, and a test that tries fails.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findProgram, programs } from '../../scripts/programs.mjs'
import { dieTogether } from './die-together.ts'
import { freePort } from './free-port.ts'

export type PostgresServer = Readonly<{
  url: string
  stop(): Promise<void>
  kill9(): Promise<void>
  restart(): Promise<void>
}>

type Owner = Readonly<{ uid?: number; gid?: number }>
type Running = Readonly<{ process: ChildProcess; exited: Promise<unknown> }>

const startDeadlineMs = 100_000
const startAttemptsMax = 40

/** The folder with initdb, postgres, psql; undefined when there is none and TEST_DATABASE_URL is to be used. */
export function postgresFolder(): string | undefined {
  const program = programs.find(({ label }) => label === 'PostgreSQL')
  if (program === undefined) throw new Error('scripts/programs.mjs does not list PostgreSQL')
  const { path, reason } = findProgram(program)
  if (path === undefined && !process.env['TEST_DATABASE_URL']) throw new Error(`${reason}; see npm test`)
  return path
}

export async function start(): Promise<PostgresServer> {
  const folder = postgresFolder()
  if (folder === undefined) return givenServer(process.env['TEST_DATABASE_URL'] ?? '')
  const owner = unprivilegedOwner()
  const data = mkdtempSync(join(tmpdir(), 'tidemark-postgres-'))
  if (owner.uid !== undefined && owner.gid !== undefined) chownSync(data, owner.uid, owner.gid)
  const initdb = ['-D', data, '-U', 'tidemark', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync']
  execFileSync(join(folder, 'initdb'), initdb, { ...owner, cwd: data, stdio: ['ignore', 'ignore', 'pipe'] })

  const port = await freePort()
  let running = await run(folder, data, port, owner)
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    running.process.kill(signal)
    await running.exited
  }
  return {
    url: `postgres://tidemark@127.0.0.1:${port}/postgres`,
    kill9: () => end('SIGKILL'),
    async restart() {
      await end('SIGINT')
      running = await run(folder, data, port, owner)
    },
    async stop() {
      await end('SIGINT') // PostgreSQL's fast shutdown: it does not wait for clients to leave.
      rmSync(data, { recursive: true, force: true })
    },
  }
}

/** After kill -9 the old server's children hold its shared memory for a moment; the next one is tried again. */
async function run(folder: string, data: string, port: number, owner: Owner): Promise<Running> {
  for (let attempt = 1; ; attempt++) {
    const result = await attemptRun(folder, data, port, owner)
    if (typeof result !== 'string') return result
    const isTransient = /still in use|could not bind|lock file/.test(result)
    if (!isTransient || attempt === startAttemptsMax) throw new Error(`postgres did not start:\n${result}`)
    await new Promise((resolve) => setTimeout(resolve, 50 + Math.random() * 100))
  }
}

/** The running server, or what it wrote before it exited. */
async function attemptRun(
  folder: string,
  data: string,
  port: number,
  owner: Owner,
): Promise<Running | string> {
  const settings = [
    `port=${port}`,
    'listen_addresses=127.0.0.1',
    'unix_socket_directories=',
    'fsync=on',
    'synchronous_commit=on',
    'lc_messages=C',
  ]
  const child = spawn(
    join(folder, 'postgres'),
    ['-D', data, ...settings.flatMap((setting) => ['-c', setting])],
    {
      ...owner,
      cwd: data,
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  )
  dieTogether(child, data)
  const exited = once(child, 'exit')
  let output = ''
  const isReady = new Promise<boolean>((resolve, reject) => {
    const deadline = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`postgres was not ready after ${startDeadlineMs} ms:\n${output}`))
    }, startDeadlineMs)
    const settle = (ready: boolean): void => {
      clearTimeout(deadline)
      resolve(ready)
    }
    // Keeps reading after that, so that a full pipe never stops the server.
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-10_000)
      if (output.includes('ready to accept connections')) settle(true)
    })
    exited.then(() => settle(false), reject)
  })
  return (await isReady) ? { process: child, exited } : output
}

function unprivilegedOwner(): Owner {
  if (process.getuid?.() !== 0) return {}
  const users = readFileSync('/etc/passwd', 'utf8').split('\n')
  const user = ['postgres', 'nobody']
    .map((name) => users.find((line) => line.startsWith(`${name}:`)))
    .find(Boolean)
  if (user === undefined)
    throw new Error('PostgreSQL cannot run as root, and there is no user postgres or nobody')
  const [, , uid, gid] = user.split(':')
  return { uid: Number(uid), gid: Number(gid) }
}

function givenServer(url: string): PostgresServer {
  const cannot = (): Promise<void> =>
    Promise.reject(
      new Error('This test kills its server: it needs the PostgreSQL programs, not TEST_DATABASE_URL'),
    )
  return { url, stop: () => Promise.resolve(), kill9: cannot, restart: cannot }
}
