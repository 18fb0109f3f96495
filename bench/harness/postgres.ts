/**
 * A PostgreSQL of its own for each run, with its defaults: fsync on, on a free port of 127.0.0.1, its folder removed afterwards.
 * It does not run as root; where the benchmarks do, it is `postgres`, else `nobody`.
 */
import { execFileSync } from 'node:child_process'
import { chownSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cpuMs, residentPeakBytes } from './cpu.ts'
import { freePort, type Owner, startProcess } from './processes.ts'
import { programPath } from './programs.ts'

export interface RunningPostgres {
  readonly url: string
  readonly pid: number
  stop(): Promise<void>
}

export async function startPostgres(): Promise<RunningPostgres> {
  const programs = await programPath('PostgreSQL')
  const owner = unprivilegedOwner()
  const data = mkdtempSync(join(tmpdir(), 'tidemark-bench-'))
  const remove = () => rmSync(data, { recursive: true, force: true })
  try {
    if (owner !== null) chownSync(data, owner.uid, owner.gid)
    const initdb = ['-D', data, '-U', 'tidemark', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync']
    execFileSync(join(programs, 'initdb'), initdb, {
      ...owner,
      cwd: data,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const port = await freePort()
    const settings = [
      `port=${port}`,
      'listen_addresses=127.0.0.1',
      'unix_socket_directories=',
      'lc_messages=C',
    ]
    const [server] = await startProcess(
      join(programs, 'postgres'),
      ['-D', data, ...settings.flatMap((setting) => ['-c', setting])],
      {},
      (line) => (line.includes('ready to accept connections') ? line : null),
      // SIGINT: without waiting for clients.
      { owner, folder: data, stopSignal: 'SIGINT' },
    )
    return {
      url: `postgres://tidemark@127.0.0.1:${port}/postgres`,
      pid: server.pid,
      async stop() {
        await server.stop()
        remove()
      },
    }
  } catch (error) {
    remove()
    throw error
  }
}

/** Of the server and the processes of its connections that are there now. */
export function postgresCpuMs(pid: number): number {
  return familyOf(pid).reduce((sum, each) => sum + timeOf(each), 0)
}

/** Of the largest of its processes; what they share is in each. */
export function postgresPeakBytes(pid: number): number {
  return Math.max(...familyOf(pid).map(residentPeakBytes))
}

function familyOf(pid: number): number[] {
  const children = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && parentOf(name) === pid)
  return [pid, ...children.map(Number)]
}

function parentOf(name: string): number {
  try {
    const stat = readFileSync(`/proc/${name}/stat`, 'latin1')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
  } catch {
    // It ended meanwhile.
    return -1
  }
}

function timeOf(pid: number): number {
  try {
    return cpuMs(pid)
  } catch {
    // It ended meanwhile.
    return 0
  }
}

function unprivilegedOwner(): Owner | null {
  if (process.getuid?.() !== 0) return null
  const users = readFileSync('/etc/passwd', 'utf8').split('\n')
  const user = ['postgres', 'nobody']
    .map((name) => users.find((line) => line.startsWith(`${name}:`)))
    .find((line) => line !== undefined)
  if (user === undefined)
    throw new Error('PostgreSQL cannot run as root, and there is no user postgres or nobody')
  const [, , uid, gid] = user.split(':')
  return { uid: Number(uid), gid: Number(gid) }
}
