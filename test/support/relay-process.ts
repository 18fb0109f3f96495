/** A relay in its own process, as `npm start` runs it: it can be killed. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { dieTogether } from './die-together.ts'
import { freePort } from './free-port.ts'

const main = fileURLToPath(new URL('../../dist/server/main.js', import.meta.url))
/** For `startRelay`: a relay whose embedded log has the limits in LOG_LIMITS. */
export const smallRelay = fileURLToPath(new URL('./small-relay.mjs', import.meta.url))
const startMsMax = 100_000
/** A start is nothing but work: more at once would only delay one another. */
const startingMax = 2
/** A relay in a checkout has the adapters that are in it, and a database for them: seconds that most tests need not wait. */
const noViews = { ADAPTERS: './no-adapters' }

export interface RelayProcess {
  /** http://127.0.0.1:port */
  readonly url: string
  /** ws://127.0.0.1:port */
  readonly webSocketUrl: string
  readonly port: number
  readonly pid: number
  /** Every line it has logged, parsed. */
  readonly lines: readonly Record<string, unknown>[]
  kill9(): Promise<void>
  /** SIGTERM; resolves with the exit code. */
  stop(): Promise<number | null>
}

let starting = 0
const waiting: (() => void)[] = []

/** Rejects with what the process printed when it ends instead of listening. */
export async function startRelay(environment: Record<string, string>, program = main): Promise<RelayProcess> {
  if (starting < startingMax) starting++
  else await new Promise<void>((go) => waiting.push(go))
  try {
    return await start(environment, program)
  } finally {
    const next = waiting.shift()
    if (next === undefined) starting--
    else next()
  }
}

async function start(environment: Record<string, string>, program: string): Promise<RelayProcess> {
  // Many come back at the port they had, which must still be theirs to take.
  const asked = environment['PORT'] ?? '0'
  const port = asked === '0' ? String(await freePort()) : asked
  const child = spawn(process.execPath, [program], {
    env: { PATH: process.env['PATH'], LOG_LEVEL: 'info', ...noViews, ...environment, PORT: port },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  dieTogether(child)
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
  const lines: Record<string, unknown>[] = []
  let errors = ''
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString()
  })
  const url = await new Promise<string>((resolve, reject) => {
    const deadline = setTimeout(() => reject(new Error(`no 'listening' line: ${errors}`)), startMsMax)
    createInterface({ input: child.stdout }).on('line', (line) => {
      const parsed = JSON.parse(line) as Record<string, unknown>
      lines.push(parsed)
      if (parsed['msg'] !== 'listening') return
      clearTimeout(deadline)
      resolve(String(parsed['url']))
    })
    void exited.then((code) => {
      clearTimeout(deadline)
      reject(new Error(`the relay ended with ${code}: ${errors}`))
    })
  })
  const signal = async (name: NodeJS.Signals): Promise<number | null> => {
    if (child.exitCode === null && child.signalCode === null) child.kill(name)
    return exited
  }
  return {
    url,
    webSocketUrl: url.replace('http', 'ws'),
    port: Number(new URL(url).port),
    pid: pidOf(child),
    lines,
    kill9: async () => {
      await signal('SIGKILL')
    },
    stop: () => signal('SIGTERM'),
  }
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error('the relay did not start')
  return child.pid
}
