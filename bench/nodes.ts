/**
 * Does a delivery cost more when more relays share the work? One, two and four of them on one Redis. First
 * each relay brings readers of its own to every document, as relays are added for more people; then the
 * same readers are spread thinner. The CPU time of all relays together, for each delivery; that of Redis
 * apart. Beside it one plain `ws` server.
 */
import {
  type Answer,
  interleaveEach,
  judge,
  loggedErrors,
  type Question,
  rowsOf,
  type Settings,
} from './harness/question.ts'
import { startNodes, startServer } from './harness/servers.ts'
import { runLoad } from './load/run-load.ts'
import type { LoadResult, NodesSpec } from './load/spec.ts'

/** Of each document. */
const readersOfOne = 50
const contestants = ['1 relay', '2 relays', '4 relays'] as const
/** "Flat" needs a number. */
const ratioMax = 1.25

export const nodes: Question = async (asked) => {
  const settings = asked.quick ? { ...asked, runs: 1 } : asked
  const answers: Answer[] = []
  const cases = [
    { question: 'nodes-growing', readers: (relays: number) => readersOfOne * relays },
    { question: 'nodes-spread', readers: () => readersOfOne },
  ]
  for (const { question, readers } of cases) {
    const load = (relays: number) => ({
      kind: 'nodes' as const,
      documents: 10,
      readersPerDocument: readers(relays),
      updatesPerSecond: 200,
      warmUpMs: settings.quick ? 2000 : 4000,
      measureMs: settings.quick ? 3000 : 6000,
    })
    const samples = await interleaveEach(['raw-each', ...contestants], settings, (name) => {
      const relays = Number(name.split(' ')[0])
      return name === 'raw-each' ? askRaw(load(1), settings) : askRelays(load(relays), relays, settings)
    })
    const figure = 'serverCpuMicrosecondsPerDelivery'
    const verdicts = judge(
      samples,
      ['2 relays', '4 relays'],
      [{ figure, raw: '1 relay', bound: 'atMost', value: ratioMax }],
    )
    answers.push({ question, rows: rowsOf(samples), verdicts, samples, notes: [] })
  }
  return answers
}

type Load = Omit<NodesSpec, 'addresses' | 'handshake' | 'serverPids' | 'logPid'>

async function askRelays(load: Load, count: number, settings: Settings): Promise<LoadResult> {
  const relays = await startNodes(count, { profileDir: settings.profileDir })
  try {
    const { addresses, serverPids, logPid } = relays
    const result = await runLoad({ ...load, addresses, serverPids, logPid, handshake: true })
    return { ...result, errors: [...result.errors, ...loggedErrors(relays.output())] }
  } finally {
    await relays.stop()
  }
}

async function askRaw(load: Load, settings: Settings): Promise<LoadResult> {
  const raw = await startServer('raw-each', { profileDir: settings.profileDir })
  try {
    const { address, serverPid } = raw
    return await runLoad({
      ...load,
      addresses: [address],
      serverPids: [serverPid],
      logPid: null,
      handshake: false,
    })
  } finally {
    await raw.stop()
  }
}
