/**
 * Many documents, each edited a few times a second by one session: how long until an edit is acknowledged, and, on
 * PostgreSQL, until somebody else who listens can read its row. Each edit adds an entry.
 *
 * What it measures of rows, also on PGlite, stands in the rows: when the edit left, and in which transaction they were written.
 */
import pg from 'pg'
import { commitsChannel, schemaName } from '../adapters/entries-adapter.ts'
import { startCpuMeter } from '../harness/cpu.ts'
import { postgresCpuMs } from '../harness/postgres.ts'
import { Latencies } from '../harness/statistics.ts'
import { type Edit, EntriesDocument, stamped, wallClock } from './entries.ts'
import { pace } from './fan-out.ts'
import { sleep } from './peer.ts'
import { type PushedDocument, Pusher } from './pusher.ts'
import type { Figures, LoadResult, ViewsLatencySpec } from './spec.ts'
import { viewsSettled } from './views-settled.ts'

const sockets = 4
const deadlineMs = 60_000

export async function viewsLatency(spec: ViewsLatencySpec, prefix: string): Promise<LoadResult> {
  const errors: string[] = []
  const { documents, updatesPerSecond, warmUpMs, measureMs } = spec
  const made = new EntriesDocument()
  const seed = made.set(0, spec.entriesPerDocument, false)
  const editCount = Math.ceil((updatesPerSecond / documents) * ((warmUpMs + measureMs) / 1000 + 2))
  const edits: Edit[] = Array.from({ length: editCount }, (_, i) => {
    const entry = spec.entriesPerDocument + i
    return made.set(entry, entry + 1, true)
  })

  const pushers: Pusher[] = []
  for (let i = 0; i < sockets; i++)
    pushers.push(await Pusher.connect(spec.address, (reason) => errors.push(reason)))
  const opened: [Pusher, PushedDocument][] = []
  for (let i = 0; i < documents; i++) {
    const pusher = pushers[i % sockets]!
    const document = await pusher.open(`${prefix}${i}`)
    pusher.push(document, seed.update)
    opened.push([pusher, document])
  }
  const settle = async (): Promise<void> => {
    for (const pusher of pushers)
      if (!(await pusher.drained(deadlineMs))) errors.push('not everything became durable')
    if (spec.sql !== null && !(await viewsSettled(spec.metricsUrl, documents, deadlineMs)))
      errors.push('the views did not follow')
  }
  await settle()

  const heard = spec.databaseUrl === null ? null : await listen(spec.databaseUrl)
  const latencies = new Latencies()
  const wallMs = wallClock()
  const sent = new Uint32Array(documents)
  let isMeasuring = false
  let next = 0
  let measured = 0
  const stop = pace(updatesPerSecond, (count) => {
    for (let i = 0; i < count; i++) {
      const index = next++ % documents
      const [pusher, document] = opened[index]!
      pusher.push(document, stamped(edits[sent[index]!++]!, isMeasuring ? wallMs() : 0))
      if (isMeasuring) measured++
    }
  })
  await sleep(warmUpMs)
  for (const pusher of pushers) pusher.measuring = latencies
  isMeasuring = true
  const meter = startCpuMeter(spec.serverPid, spec.logPid)
  const sqlMs = (): number => (spec.postgresPid === null ? 0 : postgresCpuMs(spec.postgresPid))
  const sqlFromMs = sqlMs()
  await sleep(measureMs)
  const cpu = meter.stop()
  const sqlCores = (sqlMs() - sqlFromMs) / cpu.wallMs
  isMeasuring = false
  stop()
  const figures = {
    edits: measured,
    ackP50Ms: latencies.quantile(0.5),
    ackP99Ms: latencies.quantile(0.99),
    ...cpu.figures,
    ...(spec.postgresPid === null ? {} : { sqlCores }),
  }
  await settle()
  for (const pusher of pushers) pusher.end()
  const visible = heard === null ? {} : await heard(errors)
  return { cases: [{ name: '', figures: { ...visible, ...figures } }], errors: errors.slice(0, 20) }
}

/** Hears of each commit when its rows can be read by others. */
async function listen(databaseUrl: string): Promise<(errors: string[]) => Promise<Figures>> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  const wallMs = wallClock()
  const heardMs = new Map<string, number>()
  client.on('notification', ({ payload }) => heardMs.set(payload ?? '', wallMs()))
  await client.query(`listen ${commitsChannel}`)
  return async (errors) => {
    const { rows } = await client.query<{ transaction: string; sent: number }>(
      `select transaction::text, sent from ${schemaName}.entries where sent > 0`,
    )
    await client.end()
    const latencies = new Latencies()
    for (const { transaction, sent } of rows) {
      const ms = heardMs.get(transaction)
      if (ms === undefined) errors.push('a commit was not heard of')
      else latencies.add(ms - sent)
    }
    return { p50Ms: latencies.quantile(0.5), p99Ms: latencies.quantile(0.99) }
  }
}
