/**
 * What does a delivery cost the server when updates come one by one, so that nothing can be joined?
 * 200 updates a second to 100 readers, and 20 a second to 1,500, beside `ws` sending message by message.
 */
import { type Answer, interleave, judge, type Question, rowsOf, type Settings } from './harness/question.ts'
import { logNames } from './harness/servers.ts'

const cases = [
  { question: 'fan-out-paced-100', readers: 100, updatesPerSecond: 200, ratioMax: 1.15 },
  { question: 'fan-out-paced-1500', readers: 1500, updatesPerSecond: 20, ratioMax: 1.1 },
]

export const fanOutPaced: Question = async (settings) => {
  const answers: Answer[] = []
  for (const each of cases) answers.push(await pacedTo(each, settings))
  return answers
}

export const fanOutTo1500: Question = async (settings) => [await pacedTo(cases[1]!, settings)]

async function pacedTo(
  { question, readers, updatesPerSecond, ratioMax }: (typeof cases)[number],
  settings: Settings,
): Promise<Answer> {
  const samples = await interleave(['raw-each', ...settings.contestants], settings, (server) => ({
    ...server,
    kind: 'fan-out',
    readers,
    updatesPerSecond,
    windows: [],
    // The first seconds are the compiler's.
    warmUpMs: settings.quick ? 2000 : 3000,
    measureMs: settings.quick ? 3000 : 5000,
  }))
  const figure = 'serverCpuMicrosecondsPerDelivery'
  const verdicts = judge(samples, settings.contestants, [
    { figure, raw: 'raw-each', bound: 'atMost', value: ratioMax, servers: logNames },
  ])
  return { question, rows: rowsOf(samples), verdicts, samples, notes: [] }
}
