/** The log that the configuration asks for, not yet started. */
import type { Config } from '../config.ts'
import type { Logger } from '../logger.ts'
import { createEmbeddedLog } from './lmdb/embedded-log.ts'
import type { Log } from './log.ts'
import { createRedisLog } from './redis/redis-log.ts'

export function openLog(config: Config, logger: Logger): Log {
  if (config.REDIS_URL !== undefined) return createRedisLog({ url: config.REDIS_URL, logger })
  return createEmbeddedLog({ directory: config.DATA_DIR, logger })
}
