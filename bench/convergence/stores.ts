/** redis-server and PostgreSQL for a world: on a port of their own that they keep, killed and started again on what they stored. */
import { execFileSync } from 'node:child_process'
import { chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { freePort } from '../harness/processes.ts'
import { Program, root, type Start } from './program.ts'

export interface Store {
  readonly name: string
  readonly url: string
  readonly pid: () => number
  kill9(): Promise<void>
  standStill(ms: number): Promise<void>
  start(): Promise<void>
  stop(): Promise<void>
}

const attemptsMax = 20

export async function startRedis(folder: string): Promise<Store> {
  mkdirSync(folder)
  const port = await freePort()
  const settings = {
    port,
    bind: '127.0.0.1',
    dir: folder,
    save: '',
    appendonly: 'yes',
    appendfsync: 'always',
  }
  return startStore('redis-server', `redis://127.0.0.1:${port}`, 'SIGTERM', {
    command: await programPath('Redis'),
    args: Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]),
    ready: (line) => (line.includes('Ready to accept connections') ? line : null),
  })
}

export async function startPostgres(folder: string): Promise<Store> {
  const programs = await programPath('PostgreSQL')
  const owner = unprivilegedOwner()
  const data = mkdtempSync(`${folder}-`)
  if (owner !== null) chownSync(data, owner.uid, owner.gid)
  const initdb = ['-D', data, '-U', 'tidemark', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync']
  execFileSync(join(programs, 'initdb'), initdb, { ...owner, cwd: data, stdio: 'ignore' })
  const port = await freePort()
  const settings = [`port=${port}`, 'listen_addresses=127.0.0.1', 'unix_socket_directories=', 'lc_messages=C']
  const store = await startStore('Postgres', `postgres://tidemark@127.0.0.1:${port}/postgres`, 'SIGINT', {
    command: join(programs, 'postgres'),
    args: ['-D', data, ...settings.flatMap((setting) => ['-c', setting])],
    owner,
    folder: data,
    ready: (line) => (line.includes('ready to accept connections') ? line : null),
  })
  const stop = async (): Promise<void> => {
    await store.stop()
    rmSync(data, { recursive: true, force: true })
  }
  return { ...store, stop }
}

async function startStore(name: string, url: string, stopSignal: NodeJS.Signals, how: Start): Promise<Store> {
  let [program] = await attempt(how)
  return {
    name,
    url,
    pid: () => program.pid,
    kill9: () => program.end('SIGKILL'),
    standStill: (ms) => program.standStill(ms),
    stop: () => program.end(stopSignal),
    async start() {
      ;[program] = await attempt(how)
    },
  }
}

/** What a process that was just killed held (a port, shared memory) can stay taken for a moment. */
async function attempt(how: Start): Promise<[Program, string]> {
  for (let count = 1; ; count++) {
    try {
      return await Program.start(how)
    } catch (error) {
      if (count === attemptsMax || !/in use|could not bind|lock file/.test(String(error))) throw error
      await sleep(50 + Math.random() * 100)
    }
  }
}

/** Of redis-server and PostgreSQL, as they are found. */
export async function storeVersions(): Promise<Record<string, string>> {
  const [redis, postgres] = [await programPath('Redis'), join(await programPath('PostgreSQL'), 'postgres')]
  const versionIn = (program: string): string => {
    const said = execFileSync(program, ['--version'], { encoding: 'utf8' })
    return /\d+(\.\d+)+/.exec(said)?.[0] ?? 'unknown'
  }
  return { 'redis-server': versionIn(redis), PostgreSQL: versionIn(postgres) }
}

interface Programs {
  readonly programs: readonly { readonly label: string; readonly toInstall: string }[]
  findProgram(program: Programs['programs'][number]): { readonly path?: string; readonly reason?: string }
}

/** As the tests find it; of PostgreSQL the folder of its programs. */
async function programPath(label: string): Promise<string> {
  const file = pathToFileURL(join(root, 'scripts/programs.mjs')).href
  const { findProgram, programs } = (await import(file)) as Programs
  const program = programs.find((each) => each.label === label)!
  const { path, reason } = findProgram(program)
  if (path === undefined) throw new Error(`${reason}. Install ${program.toInstall}`)
  return label === 'Redis' && !path.endsWith('redis-server') ? join(path, 'redis-server') : path
}

function unprivilegedOwner(): { uid: number; gid: number } | null {
  if (process.getuid?.() !== 0) return null
  const users = readFileSync('/etc/passwd', 'utf8').split('\n')
  const find = (name: string): string | undefined => users.find((line) => line.startsWith(`${name}:`))
  const user = find('postgres') ?? find('nobody')
  if (user === undefined) throw new Error('PostgreSQL cannot run as root: make a user postgres or nobody')
  const [, , uid, gid] = user.split(':')
  return { uid: Number(uid), gid: Number(gid) }
}
