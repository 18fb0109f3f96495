/**
 * What the model of the relay runs against, behind one interface: some addresses that serve the same
 * documents, and `fail`, which makes something go wrong and is over when all addresses serve again.
 *
 *   embedded    one server in this process; fails at a step of its log, or shuts down and starts again
 *   killed      one relay process over an embedded log; fails by kill -9
 *   two nodes   two relay processes over one Redis that syncs each append; a node or Redis is killed
 *
 * Segments, checkpoints and compactions are so small that they go on all the time. `fail` takes a number
 * that chooses what fails, so that a run can be repeated.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readConfig } from '../../server/config.ts'
import { createEmbeddedLog } from '../../server/log/lmdb/embedded-log.ts'
import { Server } from '../../server/server.ts'
import { busyLogLimits, logSteps } from '../support/busy-log.ts'
import { startRedisServer } from '../support/redis-server.ts'
import { type RelayProcess, smallRelay, startRelay } from '../support/relay-process.ts'
import { silentLogger } from '../support/silent-logger.ts'
import { until } from '../support/wait.ts'

export interface Relays {
  /** ws:// URLs; they change with `fail`. */
  urls(): readonly string[]
  /** What fails comes back by itself, or is back when this resolves. */
  fail(choice: number): Promise<void>
  /** Nothing fails any more. */
  heal(): void
  /** Compactions of the document that ended well, also those of processes killed since. */
  compactions(document: string): number
  close(): Promise<void>
}

const logLimits = { ...busyLogLimits, retryMs: 1, retryMsMax: 10 }

const environmentOf = (choice: number): Record<string, string> => ({
  PORT: '0',
  // Adapters want a database and threads of their own with each start.
  ADAPTERS: './no-adapters',
  // Compactions are counted by their lines.
  LOG_LEVEL: 'debug',
  COMPACTION_TAIL_COUNT_MAX: String(2 + (choice % 9)),
  COMPACTION_INTERVAL_MS: '0',
  // Rooms close and open again within a run.
  ROOM_LINGER_MS: choice % 2 === 0 ? '0' : '10000',
})

export async function embeddedRelays(): Promise<Relays> {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-property-'))
  let failing: string | null = null
  let url = ''
  const lines: Line[] = []
  const logger = {
    ...silentLogger,
    debug: (fields: object, msg: string) => void lines.push({ msg, ...fields }),
  }
  const onStep = (step: string): void => {
    if (step !== failing) return
    failing = null
    throw new Error(`stopped at ${step}`)
  }
  const start = async (choice: number): Promise<Server> => {
    const log = createEmbeddedLog({ directory, logger: silentLogger, onStep, ...logLimits })
    const server = new Server(readConfig(environmentOf(choice)), log, logger)
    url = (await server.start()).replace('http', 'ws')
    return server
  }
  let server = await start(0)
  return {
    urls: () => [url],
    async fail(choice) {
      failing = logSteps[choice % (logSteps.length * 2)] ?? null
      if (failing !== null) return
      await server.close()
      server = await start(choice)
    },
    heal() {
      failing = null
    },
    compactions: (document) => compactionsIn(lines, document),
    async close() {
      await server.close()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

export async function killedRelays(): Promise<Relays> {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-property-'))
  const start = (choice: number): Promise<RelayProcess> => {
    const environment = {
      ...environmentOf(choice),
      DATA_DIR: directory,
      LOG_LIMITS: JSON.stringify(logLimits),
    }
    return startRelay(environment, smallRelay)
  }
  let relay = await start(0)
  const all = [relay]
  return {
    urls: () => [relay.webSocketUrl],
    async fail(choice) {
      await relay.kill9()
      relay = await start(choice)
      all.push(relay)
    },
    heal: () => undefined,
    compactions: (document) =>
      compactionsIn(
        all.flatMap((one) => one.lines),
        document,
      ),
    async close() {
      await relay.stop()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

export async function twoNodes(): Promise<Relays> {
  const redis = await startRedisServer({ appendfsync: 'always' })
  const start = (choice: number) => startRelay({ ...environmentOf(choice), REDIS_URL: redis.url })
  const nodes = [await start(0), await start(1)]
  const all = [...nodes]
  return {
    urls: () => nodes.map((node) => node.webSocketUrl),
    async fail(choice) {
      const dying = choice % 3
      if (dying < 2) {
        await nodes[dying]!.kill9()
        nodes[dying] = await start(choice)
        all.push(nodes[dying]!)
        return
      }
      await redis.kill9()
      await redis.restart()
      const ready = async (node: RelayProcess) => (await fetch(`${node.url}/readyz`)).ok
      for (const node of nodes) await until('a node is ready again', () => ready(node))
    },
    heal: () => undefined,
    compactions: (document) =>
      compactionsIn(
        all.flatMap((one) => one.lines),
        document,
      ),
    async close() {
      await Promise.all(nodes.map((node) => node.stop()))
      await redis.stop()
    },
  }
}

type Line = Readonly<Record<string, unknown>>

/** What a process logged outlives it. */
function compactionsIn(lines: readonly Line[], document: string): number {
  return lines.filter(
    (line) => line['msg'] === 'compaction' && line['result'] === 'done' && line['document'] === document,
  ).length
}
