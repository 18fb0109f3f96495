/**
 * How many deliveries a second can one document make, one writer to 100 readers, at p99 below 20 ms?
 * Each server is measured at several windows and stands with its best that keeps the latency.
 *
 * Asked twice: with readers that only count (the servers are what is measured), and with the clients of the `ws`
 * package, which cost about as much for each message as those of an app do.
 */
import {
  type Answer,
  bestWindow,
  interleave,
  judge,
  type Question,
  rowsOf,
  type Settings,
} from './harness/question.ts'
import { logNames, type RunningServer } from './harness/servers.ts'

const p99MsMax = 20

export const fanOut: Question = async (settings) => {
  const windows = settings.quick ? [32, 256, 1024, 4096] : [32, 128, 512, 1024, 2048, 4096]
  return [
    await fanOutTo('fan-out', settings, false, () => windows),
    await fanOutTo('fan-out-app-readers', settings, true, () => [8, 32, 128, 512]),
  ]
}

/** `appReaders`: see above. */
export async function fanOutTo(
  question: string,
  settings: Settings,
  appReaders: boolean,
  windowsOf: (server: RunningServer) => readonly number[],
): Promise<Answer> {
  const samples = await interleave(
    ['raw-joined', 'raw-each', ...settings.contestants],
    settings,
    (server) => ({
      ...server,
      kind: 'fan-out',
      readers: 100,
      appReaders,
      windows: windowsOf(server),
      warmUpMs: settings.quick ? 400 : 600,
      measureMs: settings.quick ? 1000 : 2000,
    }),
  )
  const best = bestWindow(samples, 'deliveriesPerSecond', p99MsMax)
  const verdicts = judge(best, settings.contestants, [
    { figure: 'deliveriesPerSecond', raw: 'raw-joined', bound: 'atLeast', value: 0.7, servers: logNames },
    { figure: 'p99Ms', bound: 'atMost', value: p99MsMax, servers: logNames },
  ])
  return { question, rows: rowsOf(best), verdicts, samples, notes: [] }
}
