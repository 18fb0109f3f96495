/** A server in this process, over a real log whose appends are held back, or fail, when a test says so. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import { readConfig } from '../../../server/config.ts'
import { createEmbeddedLog } from '../../../server/log/lmdb/embedded-log.ts'
import type { Log } from '../../../server/log/log.ts'
import { Server } from '../../../server/server.ts'
import { silentLogger } from '../../support/silent-logger.ts'

export interface ServerUnderTest {
  /** http://127.0.0.1:port */
  readonly httpUrl: string
  /** ws://127.0.0.1:port */
  readonly url: string
  /** Appends wait from here on. */
  hold(): void
  readonly held: number
  release(): void
  failing: boolean
  close(): Promise<void>
}

export async function startServer(environment: Record<string, string> = {}): Promise<ServerUnderTest> {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  // The loop is shared with the peers.
  const settings = { PORT: '0', ADAPTERS: './no-adapters', LOOP_LAG_MS_MAX: '60000' }
  const config = readConfig({ DATA_DIR: folder, ...settings, ...environment })
  const log = createEmbeddedLog({ directory: folder, logger: silentLogger })
  const append = log.append.bind(log)
  let waiting: (() => void)[] | null = null
  const slow: Log['append'] = async (document, entries) => {
    if (waiting !== null) await new Promise<void>((go) => waiting!.push(go))
    if (under.failing) throw new TidemarkError('log_unavailable', 'The disk is full')
    return append(document, entries)
  }
  const server = new Server(config, Object.assign(log, { append: slow }), silentLogger)
  const httpUrl = await server.start()
  const under: ServerUnderTest = {
    httpUrl,
    url: httpUrl.replace('http', 'ws'),
    failing: false,
    hold: () => {
      waiting = []
    },
    get held() {
      return waiting?.length ?? 0
    },
    release: () => {
      const held = waiting ?? []
      waiting = null
      for (const go of held) go()
    },
    close: async () => {
      await server.close()
      rmSync(folder, { recursive: true })
    },
  }
  return under
}
