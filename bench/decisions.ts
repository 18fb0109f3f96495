/**
 * How fast does the server decide? Intents of many documents, each asked for when the last of its document is decided (how many a
 * second), then at a steady rate (how soon its author sees the decision). Our own clients, with a fold of each document.
 *
 * The raw limit is a relay of the same run without rules: its clients write a fact and wait until it is durable.
 */
import {
  interleaveEach,
  judge,
  loggedErrors,
  type Question,
  rowsOf,
  type Settings,
} from './harness/question.ts'
import { startServer } from './harness/servers.ts'
import { decisionsSettings, startSql } from './harness/views.ts'
import { runLoad } from './load/run-load.ts'
import type { LoadResult } from './load/spec.ts'

const names = ['durable only', 'postgres', 'pglite'] as const
type Name = (typeof names)[number]

export const decisions: Question = async (settings) => {
  const samples = await interleaveEach(names, settings, (name) => ask(name, settings))
  const verdicts = judge(
    samples,
    ['postgres'],
    [
      { figure: 'perSecond', bound: 'atLeast', value: 2_000 },
      { figure: 'p50Ms', bound: 'atMost', value: 10 },
      { figure: 'p99Ms', bound: 'atMost', value: 50 },
    ],
  )
  const notes = [
    "All clients are in one process, with a document and a fold each; perSecond is theirs as much as the server's.",
  ]
  return [{ question: 'decisions', rows: rowsOf(samples), verdicts, samples, notes }]
}

async function ask(name: Name, { profileDir, quick }: Settings): Promise<LoadResult> {
  const postgres = name === 'postgres' ? await startSql('postgres') : null
  try {
    const relaySettings = name === 'durable only' ? {} : decisionsSettings(postgres)
    const server = await startServer('embedded', { profileDir, relaySettings })
    try {
      const result = await runLoad({
        ...server,
        kind: 'decisions',
        decides: name !== 'durable only',
        documents: quick ? 100 : 1_000,
        seconds: quick ? 2 : 8,
        steadyPerSecond: 100,
      })
      return { ...result, errors: [...result.errors, ...loggedErrors(server.output())] }
    } finally {
      await server.stop()
    }
  } finally {
    await postgres?.stop()
  }
}
