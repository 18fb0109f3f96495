/**
 * Users of one document, each of whom changes her presence once a second, spread evenly over the second:
 * a name, a colour and a cursor that moves, about 100 bytes, as y-protocols encodes it. Those of other engines: repo/presence.ts.
 *
 * Every state that anybody gets is read; its latency runs from its author's write to its first arrival. In
 * the end everybody must have the last state of everybody, except with a raw server, which may be far behind
 * by then. With `echoing` each client of Yjs sends what it was told
 * back, as y-websocket's own does with every change of awareness.
 */
import { startCpuMeter } from '../harness/cpu.ts'
import { Latencies } from '../harness/statistics.ts'
import { pace } from './fan-out.ts'
import { clientFrame } from './frames.ts'
import { joinInTurns, openPeer, type Peer, sleep, until } from './peer.ts'
import type { LoadResult, PresenceSpec } from './spec.ts'

const settledDeadlineMs = 30_000
const timesKept = 64

/** A state was heard, the author's `clock`th; true: it is news to the receiver. */
export type Hear = (receiver: number, author: number, clock: number) => boolean

export interface Room {
  change(user: number, clock: number): void
  end(): void
}

/** All users join the document. */
export type OpenRoom = (
  spec: PresenceSpec,
  document: string,
  hear: Hear,
  onBroken: (reason: string) => void,
) => Promise<Room>

export async function presence(spec: PresenceSpec, document: string, open: OpenRoom): Promise<LoadResult> {
  const { users } = spec
  const errors: string[] = []
  const latencies = new Latencies()
  const clocks = new Uint32Array(users)
  const times = new Float64Array(users * timesKept)
  /** By receiver and author: the highest clock heard. */
  const heard = new Uint32Array(users * users)
  let measuring = false
  let states = 0

  const hear: Hear = (receiver, author, clock) => {
    if (author === receiver || author < 0 || author >= users) return false
    const at = receiver * users + author
    if (clock <= heard[at]!) return false
    heard[at] = clock
    if (measuring) {
      states++
      latencies.add(performance.now() - times[author * timesKept + (clock % timesKept)]!)
    }
    return true
  }
  const room = await open(spec, document, hear, (reason) => errors.push(reason))
  let next = 0
  const stop = pace(users, (count) => {
    for (let i = 0; i < count; i++) {
      const user = next++ % users
      const clock = ++clocks[user]!
      times[user * timesKept + (clock % timesKept)] = performance.now()
      room.change(user, clock)
    }
  })
  await sleep(spec.warmUpMs)
  const meter = startCpuMeter(spec.serverPid, spec.logPid)
  measuring = true
  await sleep(spec.measureMs)
  measuring = false
  const cpu = meter.stop()
  stop()
  const lacking = (): number => {
    let count = 0
    for (let receiver = 0; receiver < users; receiver++)
      for (let author = 0; author < users; author++)
        if (author !== receiver && heard[receiver * users + author]! < clocks[author]!) count++
    return count
  }
  if (spec.handshake && !(await until(() => lacking() === 0, settledDeadlineMs)))
    errors.push(`${lacking()} states never arrived`)
  room.end()
  const figures = {
    statesPerSecond: (states / cpu.wallMs) * 1000,
    p50Ms: latencies.quantile(0.5),
    p99Ms: latencies.quantile(0.99),
    ...cpu.figures,
  }
  return { cases: [{ name: '', figures }], errors: [...new Set(errors)].slice(0, 5) }
}

const clientsFrom = 1_000_000_000
const awarenessMessage = 1

let position = 0
function varUint(bytes: Buffer): number {
  let byte = bytes[position++]!
  let value = byte & 0x7f
  let scale = 128
  while (byte > 0x7f) {
    byte = bytes[position++]!
    value += (byte & 0x7f) * scale
    scale *= 128
  }
  return value
}

export const openAwareness: OpenRoom = async (spec, document, hear, onBroken) => {
  let peers: Peer[] = []
  const receive = (receiver: number, bytes: Buffer, start: number, end: number): void => {
    if (bytes[start] !== awarenessMessage) return
    position = start + 1
    varUint(bytes)
    let isNews = false
    for (let left = varUint(bytes); left > 0; left--) {
      const author = varUint(bytes) - clientsFrom
      const clock = varUint(bytes)
      const length = varUint(bytes)
      position += length
      if (hear(receiver, author, clock)) isNews = true
    }
    if (isNews && spec.echoing) peers[receiver]?.socket.write(clientFrame(bytes.subarray(start, end)))
  }
  peers = await joinInTurns(spec.users, (index) =>
    openPeer({
      ...spec,
      document,
      onUpdate() {},
      onFrame: (bytes, start, end) => receive(index, bytes, start, end),
      onBroken,
    }),
  )
  return {
    change: (user, clock) => peers[user]!.socket.write(stateFrame(clientsFrom + user, clock)),
    end() {
      for (const peer of peers) peer.socket.end()
    },
  }
}

function stateFrame(client: number, clock: number): Buffer {
  const anchor = (client + clock * 37) % 100_000
  const state = Buffer.from(
    JSON.stringify({
      user: { name: `Visitor ${client % 1000}`, color: '#30bced' },
      cursor: { anchor, head: anchor + (clock % 9) },
      typing: clock % 2 === 0,
    }),
  )
  const update: number[] = [1]
  push(update, client)
  push(update, clock)
  push(update, state.length)
  const length: number[] = []
  push(length, update.length + state.length)
  return clientFrame(Buffer.concat([Buffer.from([awarenessMessage, ...length, ...update]), state]))
}

function push(target: number[], value: number): void {
  let rest = value
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) target.push(0x80 | (rest % 128))
  target.push(rest)
}
