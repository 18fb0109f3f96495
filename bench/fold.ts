/**
 * How fast are facts folded, and what do they weigh? 100,000 facts of 20 actors on five entities of a deal: from scratch in the
 * order in which they were written (as a log gives them) and actor by actor (as a document gives them), one more at the end, one
 * that comes late; beside what it costs to parse them and to have them in a map. No server: this is what a browser, the arbiter
 * and a rebuild do.
 */
import { judge, type Question, rowsOf, type Sample } from './harness/question.ts'
import { runLoad } from './load/run-load.ts'

/** Of what a market writes most; a price or a tag alone is shorter than the key that it stands under. */
const typical = [1, 3, 20].flatMap((actors) =>
  ['bids', 'visits'].map((what) => `${what}, ${actors} ${actors === 1 ? 'actor' : 'actors'}`),
)

const turns = ['raw', 'fold', 'bytes'] as const

export const fold: Question = async (settings) => {
  const samples: Sample[] = []
  for (let run = 0; run < settings.runs; run++)
    for (const what of turns) {
      // The same every time.
      if (what === 'bytes' && run > 0) continue
      process.stderr.write(`  run ${run + 1}/${settings.runs} ${what}          \r`)
      const result = await runLoad({
        kind: 'fold',
        what,
        facts: settings.quick ? 50_000 : 100_000,
        actors: 20,
        rounds: settings.quick ? 6 : 10,
        newFacts: 10_000,
        actorCounts: [1, 3, 20],
      })
      for (const each of result.cases) samples.push({ run, server: what, ...each, errors: result.errors })
      if (result.cases.length === 0)
        samples.push({ run, server: what, name: '', figures: {}, errors: result.errors })
    }
  process.stderr.write(`${' '.repeat(50)}\r`)
  return [
    {
      question: 'fold',
      rows: rowsOf(samples),
      verdicts: judge(samples, turns, [
        { figure: 'factsPerSecond', bound: 'atLeast', value: 500_000, servers: ['fold'] },
        // What is left of it when others use the machine as well.
        { figure: 'factsPerCpuSecond', bound: 'atLeast', value: 500_000, servers: ['fold'] },
        { figure: 'newFactP50Microseconds', bound: 'atMost', value: 5, servers: ['fold'] },
        { figure: 'newFactMeanMicroseconds', bound: 'atMost', value: 5, servers: ['fold'] },
        { figure: 'timesPayload', bound: 'atMost', value: 2, servers: ['bytes'], names: typical },
      ]),
      samples,
      notes: [
        'Bytes of what facts say, without keys, dependencies and Yjs, are those of the JSON of [entity, type, payload].',
      ],
    },
  ]
}
