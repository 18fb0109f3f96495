/**
 * What do 500 users in one room cost who each move their cursor once a second? Beside it a server that passes
 * on each state as it comes. Then the same with clients that send back what they are told, as y-websocket's do.
 */
import { type Answer, interleave, judge, type Question, rowsOf, type Settings } from './harness/question.ts'
import { logNames, type ServerName } from './harness/servers.ts'

export const presence: Question = async (settings) => [
  await presenceOf(settings, false),
  await presenceOf(settings, true),
]

export const presenceOfQuietClients: Question = async (settings) => [await presenceOf(settings, false)]

async function presenceOf(settings: Settings, echoing: boolean): Promise<Answer> {
  // A server that passes everything on would never come to rest among clients that send it back.
  const servers: readonly ServerName[] = echoing
    ? settings.contestants
    : ['raw-each', ...settings.contestants]
  const samples = await interleave(servers, settings, (server) => ({
    ...server,
    kind: 'presence',
    users: 500,
    echoing,
    warmUpMs: settings.quick ? 2000 : 3000,
    measureMs: settings.quick ? 3000 : 6000,
  }))
  const verdicts = judge(samples, settings.contestants, [
    { figure: 'serverCores', bound: 'atMost', value: 0.15, servers: logNames },
    { figure: 'p99Ms', bound: 'atMost', value: 150, servers: logNames },
  ])
  const question = echoing ? 'presence-echoing' : 'presence'
  return { question, rows: rowsOf(samples), verdicts, samples, notes: [] }
}
