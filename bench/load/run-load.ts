import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { LimitSpec } from './limits.ts'
import type { LoadResult, LoadSpec } from './spec.ts'

const loadDeadlineMs = 300_000

/** Runs one load in a process of its own; ends that process whatever happens. */
export function runLoad(spec: LoadSpec): Promise<LoadResult> {
  return runIn('./main.js', spec)
}

export function runLimit(spec: LimitSpec): Promise<LoadResult> {
  return runIn('./limits.js', spec)
}

function runIn(entry: string, spec: LoadSpec | LimitSpec): Promise<LoadResult> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(new URL(entry, import.meta.url)), {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    const kill = () => child.kill('SIGKILL')
    process.once('exit', kill)
    const timeout = setTimeout(kill, loadDeadlineMs)
    let result: LoadResult | null = null
    child.once('message', (message) => {
      result = message as LoadResult
    })
    child.once('error', reject)
    child.once('exit', (code, signal) => {
      clearTimeout(timeout)
      process.off('exit', kill)
      if (result !== null) resolve(result)
      else reject(new Error(`the load generator ended without a result (${signal ?? code})`))
    })
    child.send(spec)
  })
}
