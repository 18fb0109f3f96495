/**
 * How many updates a second, when every update is another document's? 500 documents, each with one
 * writer and one reader: as many as go, and then 2,500 a second for their latency.
 */
import { bestWindow, interleave, judge, type Question, rowsOf } from './harness/question.ts'
import type { RunningServer } from './harness/servers.ts'

const documentCount = 500
const p99MsMax = 200

export const documents: Question = (settings) =>
  documentsAt(() => (settings.quick ? [8, 32] : [4, 8, 16, 32]))(settings)

/** At the windows that are given. */
export const documentsAt =
  (windowsOf: (server: RunningServer) => readonly number[]): Question =>
  async (settings) => {
    const load = {
      kind: 'documents' as const,
      documents: documentCount,
      warmUpMs: settings.quick ? 800 : 1500,
      measureMs: settings.quick ? 1500 : 3000,
    }
    const servers = ['raw-each', ...settings.contestants] as const
    const most = await interleave(servers, settings, (server) => ({
      ...load,
      ...server,
      windows: windowsOf(server),
    }))
    const best = bestWindow(most, 'updatesPerSecond', p99MsMax)
    const paced = await interleave(servers, settings, (server) => ({
      ...load,
      ...server,
      windows: [],
      updatesPerSecond: 2500,
    }))
    const figure = 'updatesPerSecond'
    return [
      {
        question: 'documents',
        rows: rowsOf(best),
        verdicts: judge(best, settings.contestants, [
          { figure, raw: 'raw-each', bound: 'atLeast', value: 0.44, servers: ['embedded'] },
          {
            figure,
            raw: 'raw-each',
            bound: 'atLeast',
            value: 0.31,
            servers: ['redis-everysec', 'redis-always'],
          },
        ]),
        samples: most,
        notes: [],
      },
      {
        question: 'documents-paced',
        rows: rowsOf(paced),
        verdicts: judge(paced, settings.contestants, [
          { figure: 'p50Ms', bound: 'atMost', value: 0.5 },
          { figure: 'p99Ms', bound: 'atMost', value: 2 },
        ]),
        samples: paced,
        notes: [],
      },
    ]
  }
