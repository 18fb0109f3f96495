/**
 * Many documents on one socket of our own client. First each asks for its next decision as soon as it has the last; then intents
 * are asked for at a steady rate, of one document after the other, and how long each takes is measured.
 */

import { type Domain, openDomain } from '../../client/domain/domain.ts'
import { createClient, type Handle } from '../../client/index.ts'
import { gateFields } from '../adapters/gate-fields.ts'
import { cpuMs } from '../harness/cpu.ts'
import { Latencies } from '../harness/statistics.ts'
import { pace } from './fan-out.ts'
import { sleep, until } from './peer.ts'
import type { DecisionsSpec, LoadResult } from './spec.ts'

const deadlineMs = 60_000
const warmUpMs = 2_000

interface Gate {
  readonly step: () => Promise<void>
  busy: boolean
}

export async function decisions(spec: DecisionsSpec, prefix: string): Promise<LoadResult> {
  const { host, port } = spec.address
  const client = createClient({ url: `http://${host}:${port}`, storage: 'memory' })
  const errors: string[] = []
  const gates: Gate[] = []
  for (let i = 0; i < spec.documents; i++) {
    const handle = client.open(`${prefix}${i}`)
    await handle.whenLoaded
    const acting = { actor: i.toString(36).padStart(6, 'a'), subject: '' }
    const settled = spec.decides
      ? deciding(openDomain(handle, { fields: gateFields }, acting))
      : writing(handle, acting)
    gates.push({ busy: false, step: settled })
  }
  // The first ones are slow: rooms open, the database starts.
  const first = gates.map((gate) => gate.step())
  if (!(await within(Promise.all(first), deadlineMs))) errors.push('not every first intent was decided')

  let count = 0
  let isOver = false
  const run = async (gate: Gate): Promise<void> => {
    while (!isOver) {
      await gate.step()
      count++
    }
  }
  const running = gates.map(run)
  await sleep(warmUpMs)
  count = 0
  const fromMs = performance.now()
  const fromCpuMs = cpuMs(spec.serverPid)
  await sleep(spec.seconds * 1000)
  const perSecond = (count * 1000) / (performance.now() - fromMs)
  const serverMicroseconds = ((cpuMs(spec.serverPid) - fromCpuMs) * 1000) / Math.max(1, count)
  isOver = true
  if (!(await within(Promise.all(running), deadlineMs))) errors.push('not every intent was decided')

  const latencies = new Latencies()
  let next = 0
  let asked = 0
  let decided = 0
  const stop = pace(spec.steadyPerSecond, (due) => {
    for (; due > 0; due--) {
      const gate = gates[next++ % gates.length]!
      if (gate.busy) continue
      gate.busy = true
      asked++
      const sentMs = performance.now()
      void gate.step().then(() => {
        latencies.add(performance.now() - sentMs)
        gate.busy = false
        decided++
      })
    }
  })
  await sleep(spec.seconds * 1000)
  stop()
  if (!(await until(() => decided === asked, deadlineMs))) errors.push('not every steady intent was decided')
  await client.close()
  const figures = {
    perSecond,
    serverMicroseconds,
    p50Ms: latencies.quantile(0.5),
    p99Ms: latencies.quantile(0.99),
  }
  return { cases: [{ name: '', figures }], errors }
}

/** Asks for the other state, and waits for the server's word. */
function deciding(gate: Domain<{ fields: typeof gateFields }>): () => Promise<void> {
  const { state } = gate.fields
  return async () => {
    const { key, refusal } = state.do.move(state.value.state === 'shut' ? 'open' : 'shut')
    if (refusal !== null) throw new Error(refusal.reason)
    const { status, reason = '' } = await gate.settled(key)
    if (status !== 'effective') throw new Error(reason)
  }
}

/** The same bytes, about, with nobody to decide anything. */
function writing(handle: Handle, { actor }: { readonly actor: string }): () => Promise<void> {
  let written = 0
  return () => {
    handle.doc.getMap('facts').set(`${actor}:${++written}`, ['', 'state.open', { at: `${actor}:${written}` }])
    return handle.saved()
  }
}

async function within(work: Promise<unknown>, ms: number): Promise<boolean> {
  return Promise.race([work.then(() => true), sleep(ms).then(() => false)])
}
