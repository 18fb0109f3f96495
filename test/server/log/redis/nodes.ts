import { vi } from 'vitest'
import type { Log } from '../../../../server/log/log.ts'
import { createRedisLog, type RedisLogLimits } from '../../../../server/log/redis/redis-log.ts'
import { type CollectingLogger, collectingLogger } from '../../../support/collecting-logger.ts'

/** Limits small enough that a fault test sees them at work. */
export const quickLimits: Partial<RedisLogLimits> = {
  pingIntervalMs: 50,
  commandMsMax: 400,
  connectMsMax: 1_000,
  backoffMsMin: 5,
  backoffMsMax: 100,
  closeMsMax: 500,
}

export interface Nodes {
  open(limits?: Partial<RedisLogLimits>): Promise<Log & { readonly logger: CollectingLogger }>
  closeAll(): Promise<void>
}

export function nodesOn(url: () => string, replicas = 0): Nodes {
  const opened: Log[] = []
  return {
    async open(limits) {
      const logger = collectingLogger()
      const log = createRedisLog({ url: url(), replicas, logger, limits: { ...quickLimits, ...limits } })
      opened.push(log)
      await log.start()
      return Object.assign(log, { logger })
    },
    async closeAll() {
      await Promise.all(opened.splice(0).map((log) => log.close()))
    },
  }
}

export function until(condition: () => void | Promise<void>): Promise<void> {
  return vi.waitFor(condition, { timeout: 100_000, interval: 10 })
}
