/** The log as a thread has it, over a real message channel. */
import { MessageChannel } from 'node:worker_threads'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { DocumentId } from '../../../core/document-id.ts'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import type { Entry, Loaded } from '../../../server/log/log.ts'
import {
  answer,
  isAnswer,
  isCall,
  type ReadLog,
  RemoteLog,
  type Served,
} from '../../../server/views/log-port.ts'

/** A view into more than itself, as what a socket has read. */
const view = fc
  .uint8Array({ maxLength: 40 })
  .map((bytes) =>
    Uint8Array.from([...new Uint8Array(5_000), ...bytes, 7]).subarray(5_000, 5_000 + bytes.length),
  )
const loaded: fc.Arbitrary<Loaded> = fc.record({
  snapshot: fc.option(
    fc.record({ bytes: view, index: view, metadata: view, offset: fc.constant(3 as never) }),
  ),
  tail: fc.array(
    view.map((update): Entry => ({ timeMs: 1, author: 'ann', origin: 'o', offset: 4 as never, update })),
  ),
  offset: fc.constant(9 as never),
})

/** The relay's end, of which only the log is asked. */
const serving = (log: ReadLog): Served => ({ ...log, decide: () => Promise.reject(new Error('not asked')) })

async function over<T>(log: ReadLog, work: (remote: RemoteLog) => Promise<T>): Promise<T> {
  const { port1, port2 } = new MessageChannel()
  const remote = new RemoteLog(port1)
  port1.on('message', (message) => isAnswer(message) && remote.answered(message))
  port2.on('message', (message) => isCall(message) && void answer(message, serving(log), port2))
  try {
    return await work(remote)
  } finally {
    port1.close()
  }
}

test('what is loaded comes as it was, without what lay around it', async () => {
  await fc.assert(
    fc.asyncProperty(loaded, async (given) => {
      const log = { load: async () => given, changes: async () => [] }
      const got = await over(log, (remote) => remote.load('a' as DocumentId))
      expect(got).toEqual(given)
      const bytes = got.tail.reduce((sum, { update }) => sum + update.length, 0)
      const around = Math.max(0, ...got.tail.map(({ update }) => update.buffer.byteLength))
      expect(around).toBeLessThanOrEqual(bytes + 3 * 40)
    }),
    { numRuns: 60 },
  )
})

test('an error keeps its code; what is a defect says no more than that', async () => {
  const failing = (error: Error): ReadLog => ({ load: () => Promise.reject(error), changes: async () => [] })
  const failure = (error: Error): Promise<unknown> =>
    over(failing(error), (remote) => remote.load('a' as DocumentId).catch((told: unknown) => told))
  expect(await failure(new TidemarkError('document_unreadable', 'why'))).toMatchObject({
    code: 'document_unreadable',
    message: 'why',
  })
  expect(await failure(new Error('a path'))).toMatchObject({
    code: 'internal',
    message: 'The relay could not do it',
  })
})

test('what is called in one turn is one message each way, and each gets its own answer', async () => {
  const { port1, port2 } = new MessageChannel()
  const messages: string[] = []
  const remote = new RemoteLog(port1)
  const log: ReadLog = {
    load: async (document) =>
      document === 'bad'
        ? Promise.reject(new TidemarkError('document_unreadable', 'why'))
        : {
            snapshot: null,
            tail: [
              {
                timeMs: 1,
                author: 'ann',
                origin: 'o',
                offset: 1 as never,
                update: new TextEncoder().encode(document),
              },
            ],
            offset: 1 as never,
          },
    changes: async (after) => [{ document: 'a' as DocumentId, sequence: after + 1 }],
  }
  port1.on('message', (message) => {
    messages.push('answer')
    if (isAnswer(message)) remote.answered(message)
  })
  port2.on('message', (message) => {
    messages.push('call')
    if (isCall(message)) void answer(message, serving(log), port2)
  })
  const load = async (document: string): Promise<string> => {
    const { tail } = await remote.load(document as DocumentId)
    return new TextDecoder().decode(tail[0]!.update)
  }
  const answered = await Promise.all([
    load('a'),
    remote.changes(4, 1),
    load('bad').catch((error: Error) => error.message),
    load('b'),
  ])
  port1.close()
  expect(answered).toEqual(['a', [{ document: 'a', sequence: 5 }], 'why', 'b'])
  expect(messages).toEqual(['call', 'answer'])
})
