/** A program of ours in a process of its own, which is killed and started again, and ends with this process however that ends. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const readyMsMax = 60_000
const linesMax = 200

/** The checkout, from a source or from what was compiled of it. */
export const root = ((): string => {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder)
  return folder
})()

export interface Start {
  readonly command: string
  readonly args: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly owner?: { readonly uid: number; readonly gid: number } | null
  readonly folder?: string
  /** What is needed of the line that says that it serves; null for any other. */
  ready(line: string): string | null
  onLine?(line: string): void
}

export class Program {
  private readonly child: ChildProcess
  private readonly exited: Promise<unknown>

  private constructor(child: ChildProcess) {
    this.child = child
    this.exited = once(child, 'exit')
  }

  static async start(start: Start): Promise<[Program, string]> {
    const child = spawn(start.command, start.args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], ...start.environment },
      ...start.owner,
      ...(start.folder !== undefined && { cwd: start.folder }),
    })
    dieTogether(child)
    const program = new Program(child)
    const last: string[] = []
    const found = await new Promise<string>((resolve, reject) => {
      const fail = (why: string): void =>
        reject(new Error(`${start.command} ${start.args.join(' ')} ${why}\n${last.join('\n')}`))
      const deadline = setTimeout(() => fail(`did not serve within ${readyMsMax} ms`), readyMsMax)
      const hear = (line: string): void => {
        if (last.push(line) > linesMax) last.shift()
        start.onLine?.(line)
        const ready = start.ready(line)
        if (ready === null) return
        clearTimeout(deadline)
        resolve(ready)
      }
      createInterface({ input: child.stdout }).on('line', hear)
      createInterface({ input: child.stderr }).on('line', hear)
      child.once('error', (error) => fail(error.message))
      child.once('exit', (code, signal) => {
        clearTimeout(deadline)
        // Its last lines are still on their way.
        setImmediate(() => fail(`ended with ${code ?? signal}`))
      })
    }).catch((error: unknown) => {
      child.kill('SIGKILL')
      throw error
    })
    return [program, found]
  }

  get pid(): number {
    return this.child.pid ?? -1
  }

  /** Without waiting for its end. */
  signal(name: NodeJS.Signals): void {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(name)
  }

  /** It neither works nor ends. */
  async standStill(ms: number): Promise<void> {
    this.signal('SIGSTOP')
    try {
      await sleep(ms)
    } finally {
      this.signal('SIGCONT')
    }
  }

  async end(name: NodeJS.Signals): Promise<void> {
    this.signal(name)
    await this.exited
  }
}

/** A shell waits for the end of a pipe that only this process holds, and kills then. */
function dieTogether(child: ChildProcess): void {
  const script = 'read -r done && exit 0; kill -9 "$1"'
  const watcher = spawn('sh', ['-c', script, 'sh', String(child.pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  watcher.unref()
  // The watcher may be gone first when the whole group is signalled.
  watcher.stdin?.on('error', () => undefined)
  child.once('exit', () => watcher.stdin?.end('done\n'))
}
