/**
 * Child processes that are sure to end: each is stopped by who started it, and whatever is left when
 * this process ends for any reason is killed. Only processes started here are ever signalled.
 */
import { type ChildProcess, spawn } from 'node:child_process'

export { freePort } from './free-port.ts'

const startDeadlineMs = 60_000
const stopDeadlineMs = 15_000
const outputCharactersMax = 4000

const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1))

export interface ServerProcess {
  readonly pid: number
  /** The end of what it wrote, for the error message. */
  output(): string
  stop(): Promise<void>
}

export interface Owner {
  readonly uid: number
  readonly gid: number
}

export interface ProcessOptions {
  readonly owner?: Owner | null
  readonly folder?: string
  readonly stopSignal?: NodeJS.Signals
}

/** Resolves once a line of output makes `ready` return something; that is the second member. */
export function startProcess<T>(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  ready: (line: string) => T | null,
  { owner, folder, stopSignal = 'SIGTERM' }: ProcessOptions = {},
): Promise<[ServerProcess, T]> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
      ...owner,
      ...(folder === undefined ? {} : { cwd: folder }),
    })
    running.add(child)
    let output = ''
    let rest = ''
    let settled = false
    const fail = (why: string) => {
      if (settled) return
      settled = true
      child.kill('SIGKILL')
      reject(new Error(`${command} ${args.join(' ')} ${why}\n${output}`))
    }
    const timeout = setTimeout(() => fail(`said nothing in ${startDeadlineMs} ms`), startDeadlineMs)
    const exited = new Promise<void>((done) => {
      child.once('exit', () => {
        running.delete(child)
        clearTimeout(timeout)
        fail('ended at once')
        done()
      })
    })
    child.once('error', (error) => fail(error.message))
    const server: ServerProcess = {
      pid: child.pid ?? -1,
      output: () => output,
      async stop() {
        const kill = setTimeout(() => child.kill('SIGKILL'), stopDeadlineMs)
        if (child.exitCode === null && child.signalCode === null) child.kill(stopSignal)
        await exited
        clearTimeout(kill)
      },
    }
    const onData = (data: Buffer) => {
      output = (output + data.toString()).slice(-outputCharactersMax)
      if (settled) return
      rest += data.toString()
      const lines = rest.split('\n')
      rest = lines.pop()!
      for (const line of lines) {
        const found = settled ? null : ready(line)
        if (found === null) continue
        settled = true
        clearTimeout(timeout)
        resolve([server, found])
      }
    }
    child.stdout.on('data', onData)
    child.stderr.on('data', onData)
  })
}
