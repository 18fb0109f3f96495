/**
 * The server is killed while 50 documents are typed into, and started anew on what it has stored: how many edits that others had
 * seen, and of those that it had acknowledged, are gone?
 */
import { join } from 'node:path'
import { interleaveEach, judge, type Question, rowsOf, type Settings } from './harness/question.ts'
import { logNames, type ServerName, startServer } from './harness/servers.ts'
import { runLoad } from './load/run-load.ts'
import type { LoadResult } from './load/spec.ts'

export const durability: Question = async (settings) => {
  const samples = await interleaveEach(settings.contestants, settings, (name) => ask(name, settings))
  const verdicts = judge(samples, settings.contestants, [
    { figure: 'seenAndLost', bound: 'atMost', value: 0, servers: logNames },
  ])
  return [{ question: 'durability', rows: rowsOf(samples), verdicts, samples, notes: [] }]
}

async function ask(name: ServerName, { temporaryDir, quick }: Settings): Promise<LoadResult> {
  const seenFile = join(temporaryDir, `seen-${name}`)
  const first = await startServer(name, { profileDir: null })
  try {
    const killed = await runLoad({
      ...first,
      kind: 'kill',
      documents: 50,
      updatesPerSecond: 2500,
      // Long enough for servers that store what they have every ten seconds.
      afterMs: quick ? 3000 : 12_000,
      seenFile,
    })
    await first.halt()
    const second = await startServer(name, { profileDir: null, copyOf: first.dataDir })
    try {
      const { cases, errors } = await runLoad({ ...second, kind: 'recover', seenFile })
      return { cases, errors: [...killed.errors, ...errors] }
    } finally {
      await second.stop()
    }
  } finally {
    await first.stop()
  }
}
