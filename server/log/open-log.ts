/**
 * The log that the configuration asks for, not yet started: Redis or the embedded one, and over either the
 * tier of cold documents, also without a store: it knows a cold document when it meets one.
 *
 * The client of Redis is loaded where it is asked for: that takes a sixth of the program's start.
 */
import type { Config } from '../config.ts'
import type { Logger } from '../logger.ts'
import { openStore } from './cold/open-store.ts'
import { TieredLog } from './cold/tiered-log.ts'
import { createEmbeddedLog } from './lmdb/embedded-log.ts'
import type { Log } from './log.ts'
import { lastTimeMs } from './metadata.ts'

export async function openLog(config: Config, logger: Logger): Promise<TieredLog> {
  return new TieredLog({
    log: await warmLog(config, logger),
    store: config.SNAPSHOT_STORE === undefined ? null : openStore(config.SNAPSHOT_STORE),
    lastTimeMs,
    logger,
    limits: {
      afterMs: config.COLD_AFTER_SECONDS * 1000,
      everyMs: config.COLD_SWEEP_SECONDS * 1000,
      keepMs: config.COLD_KEEP_SECONDS * 1000,
    },
  })
}

async function warmLog(config: Config, logger: Logger): Promise<Log> {
  if (config.REDIS_URL !== undefined) {
    const { createRedisLog } = await import('./redis/redis-log.ts')
    return createRedisLog({ url: config.REDIS_URL, replicas: config.REDIS_REPLICAS, logger })
  }
  return createEmbeddedLog({ directory: config.DATA_DIR, logger })
}
