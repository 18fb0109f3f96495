/**
 * Joins of one stored document, step by step on one server: alone, in a crowd, by who has nothing, by who
 * lacks one update, with pending updates written in between. Each step is a case.
 *
 * - `serverCpuMsPerJoin` includes the connection's own cost: opening, upgrade, close.
 * - `residentAboveIdleBytes`: the highest of the step over what the server held before its first client.
 * - At the end a witness joins with nothing, and what it got must reach the version that is expected.
 */
import { readFileSync } from 'node:fs'
import * as Y from 'yjs'
import { resetResidentPeak, residentBytes, residentPeakBytes, startCpuMeter } from '../harness/cpu.ts'
import { clientFrame, syncFrame } from './frames.ts'
import { type Joined, type JoinOptions, joinOnce } from './joiner.ts'
import { openPeer, sleep, until } from './peer.ts'
import type { JoinSpec, JoinStep, LoadCase, LoadResult, StoreSpec, WriteStep } from './spec.ts'
import { sum } from './trace.ts'
import { readUpdates } from './update-file.ts'
import { syncMessage } from './updates.ts'

/** Some servers take a minute for a crowd. */
export const joinDeadlineMs = 180_000
const writtenDeadlineMs = 30_000
export const newcomerVersion = 'AA=='
const storedDeadlineMs = 60_000
/** Longer than any server waits before it stores what it was told. */
const storedBlindlyMs = 15_000
/** For the server to see the connections closed, so that their cost is counted. */
const closedMs = 30

export async function join(spec: JoinSpec): Promise<LoadResult> {
  const cases: LoadCase[] = []
  const idleBytes = residentBytes(spec.serverPid)
  for (const step of spec.steps) {
    if (step.kind === 'join') cases.push(await joinStep(spec, step, idleBytes, comer(spec, step)))
    else if (spec.handshake) await write(spec, step)
  }
  const errors = spec.handshake ? await verify(spec) : []
  return { cases, errors }
}

/** Somebody comes and has everything. */
export type Come = (name: string) => Promise<Pick<Joined, 'bytes' | 'end'>>

export async function joinStep(
  spec: JoinSpec,
  step: JoinStep,
  idleBytes: number,
  come: Come,
): Promise<LoadCase> {
  let milliseconds = 0
  let bytes = 0
  resetResidentPeak(spec.serverPid)
  const meter = startCpuMeter(spec.serverPid, spec.logPid)
  for (let time = 0; time < step.times; time++) {
    const from = performance.now()
    const joined = await Promise.all(
      Array.from({ length: step.joiners }, (_, i) => come(`${step.name}-${time}-${i}`)),
    )
    milliseconds += performance.now() - from
    bytes += joined.reduce((sum, each) => sum + each.bytes, 0)
    for (const each of joined) each.end()
    await sleep(closedMs)
  }
  const cpu = meter.stop()
  const joins = step.joiners * step.times
  return {
    name: step.name,
    figures: {
      joinMs: milliseconds / step.times,
      serverCpuMsPerJoin: cpu.serverMs / joins,
      ...(spec.logPid === null ? {} : { logCpuMsPerJoin: cpu.logMs / joins }),
      bytesPerJoin: bytes / joins,
      residentAboveIdleBytes: residentPeakBytes(spec.serverPid) - idleBytes,
      foreignCores: cpu.foreignMs / cpu.wallMs,
    },
  }
}

function comer(spec: JoinSpec, step: JoinStep): Come {
  const ask = spec.handshake ? syncFrame(0, fromBase64(step.version)) : rawAsk(step.rawBytes)
  const bytesMin = spec.handshake && step.version === newcomerVersion ? step.rawBytes / 2 : 0
  return () => joinWhole({ ...spec, ask, deadlineMs: joinDeadlineMs }, bytesMin)
}

/** Some servers answer first, with nothing, and read what is stored afterwards: so many bytes have to come. */
async function joinWhole(options: JoinOptions, bytesMin: number): Promise<Pick<Joined, 'bytes' | 'end'>> {
  let payloadBytes = 0
  const joined = await joinOnce({
    ...options,
    onPayload(bytes) {
      payloadBytes += bytes
    },
  })
  if (payloadBytes < bytesMin && !(await until(() => payloadBytes >= bytesMin, options.deadlineMs)))
    throw new Error(`${payloadBytes} bytes came in ${options.deadlineMs} ms`)
  return { bytes: Math.max(joined.bytes, payloadBytes), end: joined.end }
}

function rawAsk(bytes: number): Buffer {
  const payload = Buffer.alloc(4)
  payload.writeUInt32BE(bytes)
  return clientFrame(payload)
}

/** Sends the updates one frame each and waits until another session has them: then they are durable. */
async function write(spec: JoinSpec, step: WriteStep): Promise<void> {
  const updates = readUpdates(step.updatesFile)
  // All are one client's. A server may pass on several in one.
  const [[client, end] = [0, 0]] = Y.parseUpdateMeta(updates.at(-1)!).to
  let seen = 0
  let broken: string | null = null
  const open = (onUpdate: (update: Buffer) => void) =>
    openPeer({
      ...spec,
      stateVector: fromBase64(step.version),
      onUpdate: (bytes, start, end) => onUpdate(bytes.subarray(syncMessage(bytes, start)!.start, end)),
      onBroken(reason) {
        broken = reason
      },
    })
  const reader = open((update) => {
    seen = Math.max(seen, Y.parseUpdateMeta(update).to.get(client) ?? 0)
  })
  const writer = open(() => {})
  await Promise.all([reader.ready, writer.ready])
  for (const update of updates) writer.socket.write(syncFrame(2, update))
  await until(() => seen >= end || broken !== null, writtenDeadlineMs)
  reader.socket.end()
  writer.socket.end()
  if (seen < end) throw new Error(`pending updates were lost from clock ${seen} of ${end} on (${broken})`)
}

async function verify(spec: JoinSpec): Promise<string[]> {
  const parts: Buffer[] = []
  let looked = 0
  let errors: string[] = []
  const witness = openPeer({
    ...spec,
    onUpdate(bytes, start, end) {
      parts.push(Buffer.from(bytes.subarray(syncMessage(bytes, start)!.start, end)))
    },
    onBroken() {},
  })
  await witness.ready
  const isWhole = (): boolean => {
    if (looked === parts.length) return false
    looked = parts.length
    errors = lackingIn(Y.mergeUpdates(parts), spec.expectedVersion)
    return errors.length === 0
  }
  await until(isWhole, writtenDeadlineMs)
  witness.socket.end()
  return errors.slice(0, 5)
}

function lackingIn(update: Uint8Array, expectedVersion: string): string[] {
  const got = Y.decodeStateVector(Y.encodeStateVectorFromUpdate(update))
  const errors: string[] = []
  for (const [client, clock] of Y.decodeStateVector(fromBase64(expectedVersion)))
    if (got.get(client) !== clock)
      errors.push(`a newcomer has client ${client} to ${got.get(client)}, not ${clock}`)
  return errors
}

/** Puts one large update into a document and waits until it is compacted. */
export async function store(spec: StoreSpec): Promise<LoadResult> {
  const errors: string[] = []
  const peer = openPeer({
    ...spec,
    step2: readFileSync(spec.updateFile),
    onUpdate() {},
    onBroken: (reason) => errors.push(reason),
  })
  const from = performance.now()
  if (spec.metricsUrl === null) {
    await peer.ready
    await sleep(storedBlindlyMs)
    peer.socket.end()
    return { cases: [{ name: '', figures: {} }], errors }
  }
  if (!(await isCompacted(spec.metricsUrl, () => errors.length > 0)))
    errors.push(`not compacted in ${storedDeadlineMs} ms`)
  peer.socket.end()
  return { cases: [{ name: '', figures: { compactedAfterMs: performance.now() - from } }], errors }
}

/** Waits until all of what is stored is in a snapshot: false when that takes too long, or is `broken`. */
export async function isCompacted(metricsUrl: string, broken: () => boolean): Promise<boolean> {
  const from = performance.now()
  while (!broken() && performance.now() - from < storedDeadlineMs) {
    await sleep(100)
    const page = await (await fetch(metricsUrl)).text()
    const done = sum(page, 'tidemark_compactions_total{result="done"}')
    if (done > 0 && sum(page, 'tidemark_tail_bytes') === 0) return true
  }
  return false
}

function fromBase64(text: string): Uint8Array {
  return Buffer.from(text, 'base64')
}
