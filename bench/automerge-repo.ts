/**
 * What do peers of automerge-repo gain by another server? Its own, and the relay's door for them: 500 documents with a
 * writer and a reader each; one writer to 100 readers; and how soon one, and 50 at once, have a long writing session
 * (259,778 edits in 2,598 changes) from a server that was just started, while somebody types in another document.
 */
import {
  interleave,
  judge,
  type Prepared,
  prepare,
  type Question,
  rowsOf,
  type Sample,
  type Settings,
} from './harness/question.ts'
import type { RunningServer, ServerName } from './harness/servers.ts'
import type { AutomergeSpec } from './load/spec.ts'

const relay: ServerName = 'embedded'
const reference: ServerName = 'automerge-repo'
const rests = { ROOM_LINGER_MS: '1000', COMPACTION_INTERVAL_MS: '500', COMPACTION_IDLE_COUNT_MIN: '1' }
/** For a server to store, and to compact, what it was told. */
const restMs = 10_000

const servers = [relay, reference] as const
const times = 5

const baseOf =
  ({ quick }: Settings) =>
  (server: RunningServer): Omit<AutomergeSpec, 'what'> => ({
    ...server,
    kind: 'automerge',
    path: server.automergePath ?? 'automerge',
    documents: 1,
    readers: 1,
    changes: 0,
    window: 1,
    stored: null,
    warmUpMs: quick ? 1_000 : 2_000,
    measureMs: quick ? 2_000 : 5_000,
  })

export const automergeRepo: Question = async (settings) => {
  const base = baseOf(settings)
  const many = await interleave(servers, settings, (server) => ({
    ...base(server),
    what: 'load',
    documents: 500,
    changes: server.automergePath === undefined ? 400 : 60,
    window: 4,
  }))
  const fanned = await interleave(servers, settings, (server) => ({
    ...base(server),
    what: 'load',
    readers: 100,
    changes: server.automergePath === undefined ? 30_000 : 4_000,
    window: 32,
  }))
  const more = [
    { figure: 'deliveriesPerSecond', raw: reference, bound: 'atLeast', value: times, servers: [relay] },
  ] as const
  return [
    answer('automerge-documents', many, judge(many, [relay], more)),
    answer('automerge-fan-out', fanned, judge(fanned, [relay], more)),
  ]
}

export const automergeJoin: Question = async (settings) => {
  const base = baseOf(settings)
  const joins: Sample[] = []
  const prepared = new Map<ServerName, { prepared: Prepared; stored: AutomergeSpec['stored'] }>()
  try {
    for (const name of servers) {
      const done = await prepare(name, { relaySettings: rests }, (server) => ({
        ...base(server),
        what: 'fill',
        measureMs: restMs,
      }))
      const [documentId = '', head = ''] = done.result.cases[0]!.name.split(' ')
      prepared.set(name, { prepared: done, stored: { documentId, head } })
    }
    const join = async (name: ServerName, readers: number, what: 'join' | 'join-control'): Promise<void> => {
      const { prepared: copy, stored } = prepared.get(name)!
      const spec = (server: RunningServer): AutomergeSpec => ({ ...base(server), what, readers, stored })
      joins.push(...(await interleave([name], settings, spec, () => ({ copyOf: copy.dir }))))
    }
    for (const readers of [1, 50]) for (const name of servers) await join(name, readers, 'join')
    await join(relay, 50, 'join-control')
  } finally {
    for (const each of prepared.values()) await each.prepared.remove()
  }
  return [
    answer(
      'automerge-join',
      joins,
      judge(
        joins,
        [relay],
        [
          { figure: 'joinMs', raw: reference, bound: 'atMost', value: 1 / times, names: ['50 at once'] },
          {
            figure: 'residentAboveIdleBytes',
            raw: reference,
            bound: 'atMost',
            value: 1 / times,
            names: ['50 at once'],
          },
          { figure: 'typistP99Ms', bound: 'atMost', value: 20, names: ['50 at once'] },
        ],
      ),
    ),
  ]
}

const answer = (question: string, samples: readonly Sample[], verdicts: ReturnType<typeof judge>) => ({
  question,
  rows: rowsOf(samples),
  verdicts,
  samples,
  notes: [
    'The reference server sends what changed every 100 ms, whatever the load.',
    'Of a stand-in: the joiners are answered by another thread than the server, with the same bytes. What the typist waits for then is the load itself, which shares its cores.',
  ],
})
