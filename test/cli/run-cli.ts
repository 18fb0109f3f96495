/** The command line as a process, as it is built. */
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { dieTogether } from '../support/die-together.ts'

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Running {
  readonly child: ChildProcess
  /** So far. */
  readonly said: () => string
  readonly ended: Promise<Ran>
}

export function startCli(parameters: readonly string[], environment: Record<string, string> = {}): Running {
  const child = spawn(process.execPath, [main, ...parameters], {
    env: { PATH: process.env['PATH'], ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  dieTogether(child)
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const ended = new Promise<Ran>((resolve) =>
    child.once('close', (code) => resolve({ code, stdout, stderr })),
  )
  return { child, said: () => stderr, ended }
}

export function runCli(
  parameters: readonly string[],
  environment: Record<string, string> = {},
): Promise<Ran> {
  return startCli(parameters, environment).ended
}
