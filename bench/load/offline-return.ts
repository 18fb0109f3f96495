/**
 * Everybody was away, edited, and comes back in the same moment: all clients connect at once, join with
 * their state vectors, answer the server's step 1 with their own edits, and wait until they have those
 * of all others on their document. The edits were made by real Y.Docs on a shared first version.
 *
 * A broken or refused connection is an error, as is a client that lacks anything at the deadline, or a
 * document whose newcomer afterwards reads another text than all edits together make. Against a raw
 * server only the connects are measured: each client sends its bytes and waits for their echo.
 */
import * as Y from 'yjs'
import { startCpuMeter } from '../harness/cpu.ts'
import { syncFrame } from './frames.ts'
import { openPeer, type Peer, until } from './peer.ts'
import type { LoadResult, OfflineReturnSpec } from './spec.ts'
import { syncMessage, visitUpdate } from './updates.ts'

const seedDeadlineMs = 10_000
const wholeDeadlineMs = 5_000
const firstClient = 500
const clientsFrom = 2_000_000_000
const firstText = 'The tide comes in twice a day and leaves its mark upon the shore. '.repeat(16)

interface Returning {
  readonly stateVector: Uint8Array
  readonly edits: Uint8Array
}

function prepare(spec: OfflineReturnSpec) {
  const first = new Y.Doc()
  first.clientID = firstClient
  first.getText('text').insert(0, firstText)
  const firstUpdate = Y.encodeStateAsUpdate(first)
  const returning = Array.from({ length: spec.clientsPerDocument }, (_, number): Returning => {
    const replica = new Y.Doc()
    replica.clientID = clientsFrom + number
    Y.applyUpdate(replica, firstUpdate)
    const known = Y.encodeStateVector(replica)
    const text = replica.getText('text')
    for (let i = 0; i < spec.editsPerClient; i++) text.insert((i * 37 + number * 101) % text.length, 'x')
    return { stateVector: Y.encodeStateVector(replica), edits: Y.encodeStateAsUpdate(replica, known) }
  })
  const whole = new Y.Doc()
  for (const update of [firstUpdate, ...returning.map((client) => client.edits)]) Y.applyUpdate(whole, update)
  return { firstUpdate, returning, text: whole.getText('text').toString() }
}

export async function offlineReturn(spec: OfflineReturnSpec, prefix: string): Promise<LoadResult> {
  const errors: string[] = []
  const { firstUpdate, returning, text } = prepare(spec)
  const onBroken = (reason: string) => {
    errors.push(reason)
  }
  const names = Array.from({ length: spec.documents }, (_, index) => `${prefix}-${index}`)
  if (spec.handshake) for (const name of names) await seed(spec, name, firstUpdate, errors)

  const peers: Peer[] = []
  let opened = 0
  let done = 0
  let openedMs = 0
  let doneMs = 0
  const total = spec.documents * spec.clientsPerDocument
  const meter = startCpuMeter(spec.serverPid, spec.logPid)
  const from = performance.now()
  for (const name of names) {
    for (const [number, client] of returning.entries()) {
      const clocks = new Map<number, number>()
      let missing = spec.handshake ? spec.clientsPerDocument - 1 : 1
      const arrived = () => {
        missing--
        if (missing === 0 && ++done === total) doneMs = performance.now() - from
      }
      const peer = openPeer({
        ...spec,
        // Raw: a room each, where the only message is the client's own, back.
        document: spec.handshake ? name : `${name}-${number}`,
        stateVector: client.stateVector,
        step2: client.edits,
        onUpdate(bytes, start) {
          if (!spec.handshake) {
            arrived()
            return
          }
          visitUpdate(bytes, syncMessage(bytes, start)!.start, {
            onStructs(id, clock, length) {
              if (id < clientsFrom || id === clientsFrom + number) return
              const before = clocks.get(id) ?? 0
              const end = clock + length
              if (clock <= before && end > before) {
                clocks.set(id, end)
                if (before < spec.editsPerClient && end >= spec.editsPerClient) arrived()
              } else if (clock > before) errors.push(`client ${id}: clock ${clock} before ${before}`)
            },
            onDeletes() {},
          })
        },
        onBroken,
      })
      peers.push(peer)
      void peer.opened.then(() => {
        if (++opened === total) openedMs = performance.now() - from
        if (!spec.handshake) peer.socket.write(syncFrame(2, client.edits))
      })
    }
  }
  const converged = await until(() => done === total || errors.length > 0, spec.deadlineMs)
  const cpu = meter.stop()
  if (!converged || done < total)
    errors.push(`${total - done} of ${total} clients did not converge, ${total - opened} did not connect`)
  for (const peer of peers) peer.socket.end()

  if (spec.handshake && errors.length === 0)
    for (const name of names.slice(0, 5)) {
      const replica = new Y.Doc()
      const isWhole = () => replica.getText('text').toString() === text
      await readAll(spec, name, (update) => Y.applyUpdate(replica, update), isWhole)
      if (replica.getText('text').toString() !== text)
        errors.push(`${name} has another text than all edits make`)
    }
  const figures = {
    ...(done < total ? {} : { connectedMs: openedMs, convergedMs: doneMs }),
    serverCpuMs: cpu.serverMs,
    ...cpu.figures,
  }
  return { cases: [{ name: '', figures }], errors: errors.slice(0, 20) }
}

/** Makes the first version durable: a later newcomer is given it. */
async function seed(
  spec: OfflineReturnSpec,
  document: string,
  update: Uint8Array,
  errors: string[],
): Promise<void> {
  const peer = openPeer({
    ...spec,
    document,
    step2: update,
    onUpdate() {},
    onBroken: (reason) => errors.push(reason),
  })
  await peer.ready
  let have = false
  const deadline = performance.now() + seedDeadlineMs
  while (!have && performance.now() < deadline)
    await readAll(
      spec,
      document,
      (bytes) => {
        have ||= bytes.length >= update.length
      },
      () => have,
    )
  peer.socket.end()
  if (!have) errors.push(`${document} could not be seeded`)
}

async function readAll(
  spec: OfflineReturnSpec,
  document: string,
  onUpdate: (update: Buffer) => void,
  isWhole: () => boolean,
): Promise<void> {
  const peer = openPeer({
    ...spec,
    document,
    onUpdate: (bytes, start, end) =>
      onUpdate(Buffer.from(bytes.subarray(syncMessage(bytes, start)!.start, end))),
    onBroken() {},
  })
  await peer.ready
  // Some servers answer first, and read what is stored afterwards.
  await until(isWhole, wholeDeadlineMs)
  peer.socket.end()
}
