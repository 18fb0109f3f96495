/** Two nodes over one log, and writers of both engines: they agree on a document's engine, and nobody is told a falsehood. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as Automerge from '@automerge/automerge'
import { afterAll, beforeAll, expect, test } from 'vitest'
import * as Y from 'yjs'
import type { DocumentId } from '../../../core/document-id.ts'
import { engineOf } from '../../../core/engine/engine-of.ts'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import { fold } from '../../../server/log/lineage.ts'
import { createEmbeddedLog } from '../../../server/log/lmdb/embedded-log.ts'
import type { Log } from '../../../server/log/log.ts'
import { Metrics } from '../../../server/metrics.ts'
import { append } from '../../../server/room/append.ts'
import { ImageBudget } from '../../../server/room/image.ts'
import { Rooms } from '../../../server/room/rooms.ts'
import { Tick } from '../../../server/room/tick.ts'
import { silentLogger } from '../../support/silent-logger.ts'
import { until } from '../../support/wait.ts'

const directory = mkdtempSync(join(tmpdir(), 'tidemark-engines-'))
const log = createEmbeddedLog({ directory, logger: silentLogger })
const many = 1e9
const ann = { author: 'ann', roles: [] }

function nodeOver(over: Log): Rooms {
  return new Rooms(
    {
      log: over,
      tick: new Tick(),
      images: new ImageBudget(many),
      limits: {
        updateBytesMax: many,
        documentBytesMax: many,
        awarenessBytesMax: many,
        awarenessClientsMax: many,
        sessionAwarenessClientsMax: many,
        awarenessFrameMs: 50,
      },
      logger: silentLogger,
      metrics: new Metrics(),
      factRulesOf: () => null,
      onTail: () => undefined,
    },
    { lingerMs: many, imageIdleMs: many, roomsMax: many, onIdle: () => undefined },
  )
}

beforeAll(() => log.start())
afterAll(async () => {
  await log.close()
  rmSync(directory, { recursive: true })
})

const yjs = (): Uint8Array => {
  const doc = new Y.Doc()
  doc.getMap('m').set('a', 1)
  return Y.encodeStateAsUpdate(doc)
}
const automerge = (): Uint8Array => Automerge.getLastLocalChange(Automerge.from({ a: 1 }))!

/** Its followers hear of entries a while after they are durable, as over a network. */
const late: Log = new Proxy(log, {
  get: (target, name) => {
    if (name === 'follow') return followLate
    const value: unknown = Reflect.get(target, name, target)
    return typeof value === 'function' ? value.bind(target) : value
  },
})

const followLate: Log['follow'] = (document, after, follower) => {
  let heard = Promise.resolve()
  return log.follow(document, after, {
    ...follower,
    onEphemeral: () => undefined,
    onCompactedPast: () => follower.onCompactedPast(),
    onEntries: (entries) => {
      heard = heard
        .then(() => new Promise((done) => setTimeout(done, 2)))
        .then(() => follower.onEntries(entries))
    },
  })
}

test('of updates that race, those of the first engine in the log are taken, and the others told', async () => {
  const nodes = [nodeOver(log), nodeOver(late)]
  const winners = new Set<string>()
  for (let run = 0; run < 40; run++) {
    const document = `race/${run}` as DocumentId
    const writes = Array.from({ length: 6 }, (_, i) => ((i * 5 + run) % 3 === 0 ? yjs() : automerge()))
    const outcomes = await Promise.allSettled(
      writes.map((update, i) =>
        append(nodes[i % 2]!, document, update, ann, i < 4 ? undefined : { replica: `r${i}`, sequence: 1 }),
      ),
    )
    const { engine, entries, offset } = fold(await log.load(document))
    winners.add(engine!)
    for (const [i, outcome] of outcomes.entries()) {
      const update = writes[i]!
      const isIn = entries.some((entry) => Buffer.compare(entry.update, update) === 0)
      expect(isIn).toBe(engineOf(update) === engine)
      if (isIn) expect(outcome.status).toBe('fulfilled')
      else expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'wrong_engine' } })
    }
    const rooms = await Promise.all(nodes.map((node) => node.use(document, async (room) => room)))
    await until('both have heard of all', () => rooms.every((room) => room.offset === offset))
    expect(rooms.map((room) => room.engine)).toEqual([engine, engine])
    expect(rooms[0]!.version(engine!)).toEqual(rooms[1]!.version(engine!))
  }
  expect(winners.size).toBe(2)
  for (const node of nodes) node.close()
})

test('a first update that was stored, and of which the room never hears, is neither taken nor refused for its engine', async () => {
  let deaf = true
  const silent: Log = new Proxy(log, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target)
      if (name === 'follow' && deaf) return async () => ({ close: () => undefined })
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  const node = nodeOver(silent)
  const document = 'deaf' as DocumentId
  const told = append(node, document, automerge(), ann).catch((error: unknown) => error)
  while ((await log.load(document)).offset === 0) await new Promise((done) => setImmediate(done))
  await new Promise((done) => setTimeout(done, 20))
  node.close()
  const error = await told
  expect(error).toBeInstanceOf(TidemarkError)
  expect((error as TidemarkError).code).toBe('overloaded')
  deaf = false
  const next = nodeOver(silent)
  await expect(append(next, document, yjs(), ann)).rejects.toMatchObject({ code: 'wrong_engine' })
  next.close()
})
