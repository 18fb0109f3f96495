/**
 * The log that the configuration asks for, not yet started: Redis or the embedded one, and over either the
 * tier of cold documents, also without a store: it knows a cold document when it meets one.
 */
import type { Config } from '../config.ts'
import type { Logger } from '../logger.ts'
import { openStore } from './cold/open-store.ts'
import { TieredLog } from './cold/tiered-log.ts'
import { createEmbeddedLog } from './lmdb/embedded-log.ts'
import type { Log } from './log.ts'
import { lastTimeMs } from './metadata.ts'
import { createRedisLog } from './redis/redis-log.ts'

export function openLog(config: Config, logger: Logger): TieredLog {
  return new TieredLog({
    log: warmLog(config, logger),
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

function warmLog(config: Config, logger: Logger): Log {
  if (config.REDIS_URL !== undefined) return createRedisLog({ url: config.REDIS_URL, logger })
  return createEmbeddedLog({ directory: config.DATA_DIR, logger })
}
