/**
 * The log contract over logs whose snapshots go to a store the moment they are made: a cold document behaves
 * as any other. The model of random calls in the contract is thereby also that of random freezes.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { TieredLog } from '../../../../server/log/cold/tiered-log.ts'
import { createEmbeddedLog } from '../../../../server/log/lmdb/embedded-log.ts'
import type { Log } from '../../../../server/log/log.ts'
import { createRedisLog } from '../../../../server/log/redis/redis-log.ts'
import { type LogUnderTest, logContract } from '../../../contract/log.ts'

import { type RedisServer, startRedisServer } from '../../../support/redis-server.ts'
import { silentLogger } from '../../../support/silent-logger.ts'
import { freezeSteps, temporaryFolder, tieredOver } from './tiered-log-under-test.ts'

let redis: RedisServer
let frozen = 0

beforeAll(async () => {
  redis = await startRedisServer()
})

afterAll(async () => {
  await redis.stop()
})

/** Freezes after every compaction, and sometimes a second time. */
function freezing(log: TieredLog): Log {
  return new Proxy(log, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name)
      if (name !== 'compact') return typeof value === 'function' ? value.bind(target) : value
      const compact: Log['compact'] = async (document, snapshot, expected) => {
        const done = await target.compact(document, snapshot, expected)
        if (await target.freeze(document)) frozen++
        return done
      }
      return compact
    },
  })
}

type Steps = { onStep(step: string): void }

async function underTest(nodes: boolean, make: (folder: string, steps: Steps) => Log): Promise<LogUnderTest> {
  const folder = temporaryFolder()
  let failing: string | null = null
  const onStep = (step: string) => {
    if (step !== failing) return
    failing = null
    throw new Error(`stopped at ${step}`)
  }
  const opened: TieredLog[] = []
  const open = async () => {
    const log = tieredOver(make(`${folder.path}/log`, { onStep }), `${folder.path}/store`, { onStep })
    opened.push(log)
    await log.start()
    return freezing(log)
  }
  const closeAll = async () => {
    await Promise.all(opened.splice(0).map((log) => log.close()))
  }
  return {
    log: await open(),
    ...(nodes && { secondNode: open }),
    failAt(step) {
      failing = step
    },
    async reopen() {
      await closeAll()
      return open()
    },
    async cleanup() {
      await closeAll()
      folder.remove()
    },
  }
}

logContract(
  'a store of snapshots over lmdb',
  () =>
    underTest(false, (directory, steps) =>
      createEmbeddedLog({ directory, logger: silentLogger, segmentBytes: 256 * 1024, ...steps }),
    ),
  {
    appendSteps: [],
    compactSteps: ['compact.begin', 'compact.committed', 'compact.forgotten', ...freezeSteps],
    nodes: false,
  },
)

logContract(
  'a store of snapshots over redis',
  async () => {
    await redis.command('FLUSHALL')
    return underTest(true, (_, steps) => createRedisLog({ url: redis.url, logger: silentLogger, ...steps }))
  },
  { appendSteps: [], compactSteps: ['compact:send', 'compact:reply', ...freezeSteps], nodes: true },
)

describe('beneath the contract', () => {
  test('documents were cold all the time', () => {
    expect(frozen).toBeGreaterThan(200)
  })
})
