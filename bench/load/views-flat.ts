/**
 * Documents of different sizes, one after the other: somebody fills one, waits until it is projected, then changes single
 * entries at a steady rate. What an edit costs the relay (its views included) and the database, in CPU time. Compaction is off
 * meanwhile (the question's settings): its cost is the document's, not the edit's.
 */
import { cpuMs, startCpuMeter } from '../harness/cpu.ts'
import { postgresCpuMs } from '../harness/postgres.ts'
import { EntriesDocument, stamped, wallClock } from './entries.ts'
import { pace } from './fan-out.ts'
import { sleep, until } from './peer.ts'
import { type PushedDocument, Pusher } from './pusher.ts'
import type { LoadCase, LoadResult, ViewsFlatSpec } from './spec.ts'
import { viewsSettled } from './views-settled.ts'

const entriesPerUpdate = 500
const warmUpEdits = 200
const deadlineMs = 120_000
/** No two edits of one document meet in an entry: a size must have no such factor. */
const stride = 709

export async function viewsFlat(spec: ViewsFlatSpec, prefix: string): Promise<LoadResult> {
  const errors: string[] = []
  const cases: LoadCase[] = []
  const pusher = await Pusher.connect(spec.address, (reason) => errors.push(reason))
  let projectedMin = 0
  const settle = async (): Promise<void> => {
    projectedMin++
    if (!(await pusher.drained(deadlineMs))) errors.push('not everything became durable')
    if (!(await viewsSettled(spec.metricsUrl, projectedMin, deadlineMs)))
      errors.push('the views did not follow')
  }
  for (const size of spec.sizes) {
    const made = new EntriesDocument()
    const document = await pusher.open(`${prefix}${size}`)
    for (let from = 0; from < size; from += entriesPerUpdate) {
      pusher.push(document, made.set(from, Math.min(size, from + entriesPerUpdate), false).update)
      // A message waits for the ones before it: no more than the relay takes at once.
      await until(() => document.sequence - document.acked < 50, deadlineMs)
    }
    await settle()
    let entry = 0
    const change = (): [number, number] => {
      entry = (entry + stride) % size
      return [entry, entry + 1]
    }
    await edit(pusher, document, spec.updatesPerSecond, warmUpEdits, () =>
      stamped(made.set(...change(), false), 0),
    )
    await settle()
    const wallMs = wallClock()
    const sqlMs = (): number => (spec.postgresPid === null ? 0 : postgresCpuMs(spec.postgresPid))
    const sqlFromMs = sqlMs()
    const meter = startCpuMeter(spec.serverPid, spec.logPid)
    const serverFromMs = cpuMs(spec.serverPid)
    await edit(pusher, document, spec.updatesPerSecond, spec.edits, () =>
      stamped(made.set(...change(), true), wallMs()),
    )
    await settle()
    cases.push({
      name: `${size} entries`,
      figures: {
        serverCpuMicrosecondsPerEdit: ((cpuMs(spec.serverPid) - serverFromMs) * 1000) / spec.edits,
        ...(spec.postgresPid === null
          ? {}
          : { sqlCpuMicrosecondsPerEdit: ((sqlMs() - sqlFromMs) * 1000) / spec.edits }),
        ...meter.stop().figures,
      },
    })
  }
  pusher.end()
  return { cases, errors: errors.slice(0, 20) }
}

async function edit(
  pusher: Pusher,
  document: PushedDocument,
  perSecond: number,
  count: number,
  next: () => Uint8Array,
): Promise<void> {
  let left = count
  const stop = pace(perSecond, (due) => {
    for (; due > 0 && left > 0; due--, left--) pusher.push(document, next())
  })
  await until(() => left === 0, deadlineMs)
  stop()
  await sleep(50)
}
