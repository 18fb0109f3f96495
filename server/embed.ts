/**
 * A relay inside another program: `import { startServer } from 'tidemark/server'`.
 *
 * It is the relay that `npm start` runs, with the same settings under the same names (docs/operations.md); only those
 * that are given count, the environment is not read. Whoever starts it ends it: no signal is handled here.
 */
import { pino } from 'pino'
import { readConfig } from './config.ts'
import { openLog } from './log/open-log.ts'
import type { Logger } from './logger.ts'
import { Server } from './server.ts'

export { ConfigError } from './config.ts'
export type { Logger } from './logger.ts'

export interface RunningServer {
  /** http://host:port */
  readonly url: string
  /** Lets what was taken in become durable, tells everyone to come back, ends; within 10 s. */
  close(): Promise<void>
}

/**
 * Resolves when it listens. Throws `ConfigError` for settings that are not valid, and what the log says when it cannot be
 * opened. `logger`: instead of JSON lines on stdout.
 */
export async function startServer(
  settings: Readonly<Record<string, string>> = {},
  logger?: Logger,
): Promise<RunningServer> {
  // A folder `adapters` of the program is none of the relay's, unless it says so.
  const config = { ...readConfig({ ...settings }), ADAPTERS: settings['ADAPTERS'] ?? '' }
  const ownLogger = logger ?? pino({ level: config.LOG_LEVEL })
  const server = new Server(config, await openLog(config, ownLogger), ownLogger)
  try {
    return { url: await server.start(), close: () => server.close() }
  } catch (error) {
    await server.close()
    throw error
  }
}
