/** A real S3 server (s3rver) in its own process, with one bucket, on a free port; it can be killed, paused and started again. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { dieTogether } from '../../../support/die-together.ts'
import { freePort } from '../../../support/free-port.ts'
import { until } from '../../../support/wait.ts'

export interface S3Server {
  /** As SNAPSHOT_STORE takes it; with a prefix of its own. */
  address(prefix: string): string
  /** The folder of the bucket. */
  readonly folder: string
  kill9(): Promise<void>
  restart(): Promise<void>
  pause(): void
  resume(): void
  stop(): Promise<void>
}

/** What the SDK looks for; s3rver knows this pair only. */
export const s3Credentials = { AWS_ACCESS_KEY_ID: 'S3RVER', AWS_SECRET_ACCESS_KEY: 'S3RVER' }

const bucket = 'cold'
const program = createRequire(import.meta.url).resolve('s3rver/bin/s3rver.js')

export async function startS3Server(): Promise<S3Server> {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-s3-'))
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const run = async () => {
    // It signs its list cursors with a cipher that OpenSSL 3 has in its legacy provider only.
    const options = ['--openssl-legacy-provider', '--no-deprecation', program]
    const where = ['-d', folder, '-a', '127.0.0.1', '-p', String(port), '--silent']
    const child = spawn(process.execPath, [...options, ...where, '--configure-bucket', bucket], {
      stdio: 'ignore',
    })
    dieTogether(child)
    await until('the S3 server answers', async () => {
      if (child.exitCode !== null) throw new Error(`the S3 server ended with ${child.exitCode}`)
      const answer = await fetch(`${url}/`).catch(() => null)
      return answer !== null
    })
    return child
  }
  let running = await run()
  const end = async () => {
    if (running.exitCode !== null || running.signalCode !== null) return
    const exited = once(running, 'exit')
    running.kill('SIGKILL')
    await exited
  }
  return {
    address: (prefix) => `s3://${bucket}/${prefix}?endpoint=${url}`,
    folder: join(folder, bucket),
    kill9: end,
    async restart() {
      await end()
      running = await run()
    },
    pause: () => void running.kill('SIGSTOP'),
    resume: () => void running.kill('SIGCONT'),
    async stop() {
      await end()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
