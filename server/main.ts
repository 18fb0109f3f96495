/** The program: reads the configuration, starts a node, ends it on SIGTERM or SIGINT. */
import { pino } from 'pino'
import { ConfigError, readConfig } from './config.ts'
import { openLog } from './log/open-log.ts'
import { Server } from './server.ts'
import { AdapterLoadError } from './views/adapters.ts'

const exitMsMax = 9_500

async function main(): Promise<string> {
  const config = readConfig()
  const logger = pino({ level: config.LOG_LEVEL })
  const log = await openLog(config, logger)
  const server = new Server(config, log, logger)

  let ending = false
  const end = (signal: NodeJS.Signals): void => {
    if (ending) return
    ending = true
    logger.info({ signal }, 'shutting down')
    setTimeout(() => {
      logger.error({}, 'shutting down took too long; what was acknowledged is stored')
      process.exit(1)
    }, exitMsMax).unref()
    server.close().then(
      () => process.exit(0),
      (error: unknown) => {
        logger.error({ err: error }, 'shutting down failed')
        process.exit(1)
      },
    )
  }
  process.on('SIGTERM', end)
  process.on('SIGINT', end)

  const url = await server.start()
  logger.info(
    { url, log: config.REDIS_URL === undefined ? 'embedded' : 'redis', durability: log.durability },
    'listening',
  )
  return url
}

/** Resolves with the URL, for `npm start`; when it cannot start, the process ends. */
export const listening = main()

listening.catch((error: unknown) => {
  if (error instanceof ConfigError) process.stderr.write(`Configuration:\n${error.message}\n`)
  else if (error instanceof AdapterLoadError) process.stderr.write(`Adapters:\n${error.message}\n`)
  else
    process.stderr.write(
      `Could not start: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    )
  process.exit(1)
})
