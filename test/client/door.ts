/** The server's door, rooms and embedded log in this process, without a listening socket. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openIdentity } from '../../server/access/grants.ts'
import { Channels } from '../../server/gateway/tidemark-dialect.ts'
import type { TidemarkContext } from '../../server/gateway/tidemark-door.ts'
import { acceptTidemark, type TidemarkArrival } from '../../server/gateway/tidemark-door.ts'
import { createEmbeddedLog } from '../../server/log/lmdb/embedded-log.ts'
import type { Log } from '../../server/log/log.ts'
import { Metrics } from '../../server/metrics.ts'
import { ImageBudget } from '../../server/room/image.ts'
import { Rooms } from '../../server/room/rooms.ts'
import { Tick } from '../../server/room/tick.ts'
import { silentLogger } from '../support/silent-logger.ts'
import type { ServerEnd } from './faulty-socket.ts'

export interface Door {
  readonly log: Log
  accept(end: ServerEnd): void
  /** Resolves when nothing of these documents is on its way to the log or back. */
  settled(prefix: string): Promise<void>
  close(): Promise<void>
}

const many = 1_000_000_000

export async function openDoor(updateBytesMax = 10_000_000): Promise<Door> {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-door-'))
  const log = createEmbeddedLog({ directory, logger: silentLogger })
  await log.start()
  const underWay = new Map<string, number>()
  const metrics = new Metrics()
  const rooms = new Rooms(
    {
      log: counted(log, underWay),
      tick: new Tick(),
      images: new ImageBudget(100_000_000),
      limits: {
        updateBytesMax,
        documentBytesMax: 100_000_000,
        awarenessBytesMax: 100_000,
        awarenessClientsMax: 1_000,
        sessionAwarenessClientsMax: 10,
        awarenessFrameMs: 50,
      },
      logger: silentLogger,
      metrics,
      factRulesOf: () => null,
      onTail: () => undefined,
    },
    { lingerMs: many, imageIdleMs: many, roomsMax: many, onIdle: () => undefined },
  )
  const identity = openIdentity
  const context: TidemarkContext = {
    rooms,
    gatekeeper: {
      start: async () => undefined,
      close: async () => undefined,
      identify: async () => identity,
      allowsOrigin: () => true,
    },
    limits: {
      // It is virtual time that passes.
      sessionMessagesPerSecondMax: many,
      sessionBytesPerSecondMax: many,
      sessionBufferBytesMax: many,
      sessionUnackedBytesMax: many,
    },
    logger: silentLogger,
    metrics,
    channels: new Channels(),
    messageBytesMax: updateBytesMax + 64,
    documentsPerSocketMax: 100,
    firstMessageMsMax: many,
    durability: () => log.durability,
    enterUser: () => undefined,
    leaveUser: () => undefined,
  }
  return {
    log,
    accept: (end) => {
      const arrival = { ws: end, socket: end.socket, token: null, identity } as unknown as TidemarkArrival
      acceptTidemark(arrival, context)
    },
    settled: async (prefix) => {
      for (let quiet = 0; quiet < 3; ) {
        await new Promise((resolve) => setImmediate(resolve))
        const busy = [...underWay].some(([document, count]) => count > 0 && document.startsWith(prefix))
        quiet = busy ? 0 : quiet + 1
      }
    },
    close: async () => {
      rooms.close()
      await log.close()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** The log, with what of each document is under way counted. */
function counted(log: Log, underWay: Map<string, number>): Log {
  const add = (document: string, change: number): void => {
    const count = (underWay.get(document) ?? 0) + change
    if (count === 0) underWay.delete(document)
    else underWay.set(document, count)
  }
  return new Proxy(log, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      return (...given: unknown[]) => {
        const result: unknown = Reflect.apply(value, target, given)
        if (!(result instanceof Promise)) return result
        const document = String(given[0])
        add(document, 1)
        const done = (): void => add(document, -1)
        result.then(done, done)
        return result
      }
    },
  })
}
