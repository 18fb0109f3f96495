/**
 * Random appends, compactions, freezings, cleanings and loads, by two nodes at once and without waiting for each
 * other, against the plain list of what was acknowledged. Objects are removed as soon as they may be, and
 * crashes happen at random steps of freezing.
 */
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { noOffset } from '../../../../core/offset.ts'
import { createFileStore } from '../../../../server/log/cold/file-store.ts'
import type { TieredLog } from '../../../../server/log/cold/tiered-log.ts'
import { createEmbeddedLog } from '../../../../server/log/lmdb/embedded-log.ts'
import type { Log } from '../../../../server/log/log.ts'
import { createRedisLog } from '../../../../server/log/redis/redis-log.ts'
import {
  contentsOf,
  DocumentModel,
  entriesOf,
  freshDocument,
  snapshotOf,
} from '../../../contract/log-model.ts'
import { type RedisServer, startRedisServer } from '../../../support/redis-server.ts'
import { silentLogger } from '../../../support/silent-logger.ts'
import { freezeSteps, temporaryFolder, tieredOver } from './tiered-log-under-test.ts'

let redis: RedisServer
const folder = temporaryFolder()
const opened: Log[] = []
let crashAt: string | null = null
let frozen = 0

beforeAll(async () => {
  redis = await startRedisServer()
})

afterAll(async () => {
  for (const log of opened) await log.close()
  await redis.stop()
  folder.remove()
})

const onStep = (step: string) => {
  if (step !== crashAt) return
  crashAt = null
  throw new Error('a crash')
}

/** Two nodes on one storage; the embedded log has one process, whose log both share. */
const inners: Record<'embedded' | 'redis', () => Log[]> = {
  embedded() {
    const log = createEmbeddedLog({ directory: join(folder.path, 'log'), logger: silentLogger })
    return [log, log]
  },
  redis: () => [1, 2].map(() => createRedisLog({ url: redis.url, logger: silentLogger })),
}

async function nodesOf(kind: 'embedded' | 'redis'): Promise<TieredLog[]> {
  const store = createFileStore(join(folder.path, kind))
  await store.start()
  const logs = inners[kind]()
  for (const log of new Set(logs)) {
    await log.start()
    opened.push(log)
  }
  return logs.map((log) => tieredOver(log, '', { store, onStep, limits: { keepMs: -1 } }))
}

const action = fc.record({
  node: fc.nat(1),
  document: fc.nat(1),
  wait: fc.boolean(),
  what: fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constant('append' as const), count: fc.integer({ min: 1, max: 3 }) }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('compact' as const), back: fc.nat(2) }) },
    { weight: 5, arbitrary: fc.record({ do: fc.constant('freeze' as const) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('load' as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('clean' as const) }) },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant('crash' as const), step: fc.constantFrom(...freezeSteps) }),
    },
  ),
})

describe.each(['embedded', 'redis'] as const)('cold documents over the log: %s', (kind) => {
  test('hold what was acknowledged, whatever raced with what', async () => {
    const nodes = await nodesOf(kind)
    frozen = 0
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 30, maxLength: 80, size: 'max' }), async (actions) => {
        const documents = [freshDocument(), freshDocument()]
        const models = documents.map(() => new DocumentModel())
        const pending: Promise<unknown>[] = []
        const freezing: Promise<unknown>[] = []
        const settle = () => Promise.all([...pending.splice(0), ...freezing.splice(0)])
        for (const [i, { node, document, wait, what }] of actions.entries()) {
          const log = nodes[node]!
          const id = documents[document]!
          const model = models[document]!
          const atLeast = model.updates.length
          switch (what.do) {
            case 'append': {
              const entries = entriesOf(`${i}-`, what.count)
              pending.push(log.append(id, entries).then((acks) => model.acked(entries, acks)))
              break
            }
            case 'compact':
              pending.push(compact(log, id, what.back))
              break
            case 'freeze':
              freezing.push(
                log.freeze(id).then(
                  (moved) => {
                    if (moved) frozen++
                  },
                  // The crash that was ordered.
                  (error: Error) => expect(error.message).toBe('a crash'),
                ),
              )
              break
            case 'load':
              pending.push(
                log
                  .load(id)
                  .then((loaded) => expect(contentsOf(loaded).length).toBeGreaterThanOrEqual(atLeast)),
              )
              break
            case 'clean':
              // An object that is unused for longer than any freezing takes.
              await Promise.all(freezing.splice(0))
              await log.removeUnused(Date.now() + 1_000)
              break
            case 'crash':
              crashAt = what.step
              break
          }
          if (wait) await settle()
        }
        await settle()
        crashAt = null
        for (const [i, id] of documents.entries())
          for (const log of nodes) expect(contentsOf(await log.load(id))).toEqual(models[i]!.contents())
      }),
      { numRuns: 30, endOnFailure: false },
    )
    expect(frozen).toBeGreaterThan(30)
  })
})

async function compact(log: TieredLog, id: Parameters<Log['load']>[0], back: number): Promise<void> {
  const loaded = await log.load(id)
  const to = loaded.offset - back
  if (to <= (loaded.snapshot?.offset ?? 0)) return
  const updates = contentsOf(loaded).map((text) => Buffer.from(text, 'latin1'))
  await log.compact(id, snapshotOf(to, updates.slice(0, to)), loaded.snapshot?.offset ?? noOffset)
}
