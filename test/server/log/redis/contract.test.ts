/** The log contract over a real redis-server; every test gets an emptied server and two nodes at will. */
import { afterAll, beforeAll } from 'vitest'
import type { Log } from '../../../../server/log/log.ts'
import { createRedisLog } from '../../../../server/log/redis/redis-log.ts'
import { logContract } from '../../../contract/log.ts'
import { collectingLogger } from '../../../support/collecting-logger.ts'
import { type RedisServer, startRedisServer } from '../../../support/redis-server.ts'

let redis: RedisServer

beforeAll(async () => {
  redis = await startRedisServer()
})

afterAll(async () => {
  await redis.stop()
})

logContract(
  'redis',
  async () => {
    await redis.command('FLUSHALL')
    let opened: Log[] = []
    let failingStep: string | null = null
    const open = async () => {
      const log = createRedisLog({
        url: redis.url,
        logger: collectingLogger(),
        onStep(step) {
          if (step !== failingStep) return
          failingStep = null
          throw new Error(`crash at ${step}`)
        },
      })
      opened.push(log)
      await log.start()
      return log
    }
    const closeAll = async () => {
      await Promise.all(opened.map((log) => log.close()))
      opened = []
    }
    return {
      log: await open(),
      secondNode: open,
      failAt(step) {
        failingStep = step
      },
      async reopen() {
        await closeAll()
        return open()
      },
      cleanup: closeAll,
    }
  },
  {
    appendSteps: ['append:send', 'append:reply'],
    compactSteps: ['compact:send', 'compact:reply'],
    nodes: true,
  },
)
