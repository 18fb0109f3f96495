/**
 * Ports for servers that must be told theirs, or that are started again at the one they had.
 *
 * They are below the range from which the system takes ports for connections (32,768 and up on Linux): a port that was free
 * there a moment ago may be some connection's own when its server comes back. Test workers have ranges of their own,
 * and go through them in order, so no two are given the same.
 */
import { createServer } from 'node:net'

const first = 10_000
const end = 32_000
const workersMax = 8
const each = Math.floor((end - first) / workersMax)
const worker = Number(process.env['VITEST_POOL_ID'] ?? workersMax) % workersMax
let next = Math.floor(Math.random() * each)

/** A port on 127.0.0.1 that nothing listened on a moment ago, and that this process has not given lately. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < each; tries++) {
    const port = first + worker * each + (next++ % each)
    if (await isFree(port)) return port
  }
  throw new Error(`no free port among ${each}`)
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
