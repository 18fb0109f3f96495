/**
 * What is told of each comparison: its figures in the order of the tables, the one that is drawn, and who cannot be asked and why. The key is
 * the question's name in bench/results, without `peers-`.
 */
export interface Column {
  readonly header: string
  readonly figure: string
  /** The case of which it is; '' when the question has one only. */
  readonly name?: string
  readonly scale?: number
  /** Left out: neither is better. */
  readonly better?: 'more' | 'less'
}

export interface Drawn {
  readonly title: string
  readonly unit: string
  /** Of `columns`, by their headers: a bar each. */
  readonly headers: readonly string[]
  /** What the bars are called, when there are several. */
  readonly names?: readonly string[]
  readonly isLogarithmic?: boolean
}

export interface Comparison {
  readonly title: string
  readonly asked: string
  readonly columns: readonly Column[]
  readonly drawn: Drawn
  readonly cannot?: Readonly<Record<string, string>>
}

const cores: Column = { header: 'server cores', figure: 'serverCores', better: 'less' }
const p50: Column = { header: 'p50 ms', figure: 'p50Ms', better: 'less' }
const p99: Column = { header: 'p99 ms', figure: 'p99Ms', better: 'less' }
const perDelivery: Column = {
  header: 'CPU µs a delivery',
  figure: 'serverCpuMicrosecondsPerDelivery',
  better: 'less',
}

const noRows = 'has no rows'

export const comparisons: Readonly<Record<string, Comparison>> = {
  'fan-out': {
    title: 'One writer, 100 readers',
    asked:
      'As many updates as go; of several windows the best with p99 below 20 ms, or the best, if none keeps that.',
    columns: [
      { header: 'deliveries/s', figure: 'deliveriesPerSecond', better: 'more' },
      { header: 'p99 ms', figure: 'p99Ms' },
      perDelivery,
    ],
    drawn: {
      title: 'One writer, 100 readers: deliveries a second',
      unit: 'more is better; logarithmic',
      headers: ['deliveries/s'],
      isLogarithmic: true,
    },
  },
  'fan-out-paced-1500': {
    title: 'One writer, 1,500 readers',
    asked: '20 updates a second, so 30,000 deliveries.',
    columns: [{ header: 'arrive/s', figure: 'deliveriesPerSecond' }, perDelivery, cores, p50, p99],
    drawn: {
      title: '1,500 readers at 20 updates a second: server CPU for a delivery',
      unit: 'µs; less is better',
      headers: [perDelivery.header],
    },
  },
  documents: {
    title: 'Many documents',
    asked:
      '500 documents with a writer and a reader each; as many updates as go; of several windows the best with p99 below 200 ms, or the best, if none keeps that.',
    columns: [
      { header: 'updates/s', figure: 'updatesPerSecond', better: 'more' },
      { header: 'p99 ms', figure: 'p99Ms' },
      { header: 'CPU µs an update', figure: 'serverCpuMicrosecondsPerUpdate', better: 'less' },
    ],
    drawn: {
      title: '500 documents with a writer and a reader each: updates a second',
      unit: 'more is better; logarithmic',
      headers: ['updates/s'],
      isLogarithmic: true,
    },
  },
  'documents-paced': {
    title: 'Many documents, at leisure',
    asked: 'The same at 2,500 updates a second.',
    columns: [{ header: 'arrive/s', figure: 'updatesPerSecond' }, p50, p99, cores],
    drawn: {
      title: '500 documents at 2,500 updates a second: latency',
      unit: 'ms from writer to reader; less is better; logarithmic',
      headers: ['p50 ms', 'p99 ms'],
      names: ['p50', 'p99'],
      isLogarithmic: true,
    },
  },
  idle: {
    title: 'Idle connections',
    asked:
      '5,000 sessions, each on a document of its own, that do nothing. Of peers of automerge-repo there are 1,000, whose documents hold a change: the server looks at all documents whenever a peer comes, so that 5,000 would take it minutes.',
    columns: [
      { header: 'kB a session', figure: 'residentBytesPerSession', scale: 1e-3, better: 'less' },
      { header: 'cores when idle', figure: 'idleServerCores', better: 'less' },
      { header: 'connects/s', figure: 'connectsPerSecond', better: 'more' },
      { header: 'CPU µs a connect', figure: 'serverCpuMicrosecondsPerConnect', better: 'less' },
    ],
    drawn: {
      title: '5,000 idle sessions: memory of each',
      unit: 'kB; less is better',
      headers: ['kB a session'],
    },
  },
  presence: {
    title: 'Presence',
    asked:
      '500 users in one room, each of whom moves a cursor once a second: 249,500 states have to arrive each second.',
    columns: [
      cores,
      { header: 'states/s', figure: 'statesPerSecond' },
      { header: 'p50 ms', figure: 'p50Ms', better: 'less' },
      p99,
    ],
    drawn: {
      title: '500 users in one room at 1 Hz: cores of the server',
      unit: 'less is better',
      headers: ['server cores'],
    },
  },
  'join-large': {
    title: 'Joining a large document',
    asked:
      'Somebody who has nothing joins a stored document: first after a restart, then one by one while nobody else is there, then 150 at once; then the same with a tail of 100 updates.',
    columns: [
      { header: 'first ms', figure: 'joinMs', name: 'first after a restart', better: 'less' },
      { header: 'CPU ms of one', figure: 'serverCpuMsPerJoin', name: 'newcomer', better: 'less' },
      { header: '150: s', figure: 'joinMs', name: '150 newcomers at once', scale: 1e-3, better: 'less' },
      {
        header: '150: MB above idle',
        figure: 'residentAboveIdleBytes',
        name: '150 newcomers at once',
        scale: 1e-6,
        better: 'less',
      },
      {
        header: 'tail: CPU ms of one',
        figure: 'serverCpuMsPerJoin',
        name: 'newcomer, 100 pending',
        better: 'less',
      },
      {
        header: 'tail: 150: s',
        figure: 'joinMs',
        name: '150 newcomers at once, 100 pending',
        scale: 1e-3,
        better: 'less',
      },
      {
        header: 'tail: 150: MB',
        figure: 'residentAboveIdleBytes',
        name: '150 newcomers at once, 100 pending',
        scale: 1e-6,
        better: 'less',
      },
    ],
    drawn: {
      title: '150 people join a large document at once: until all have it',
      unit: 'seconds; less is better; logarithmic',
      headers: ['150: s', 'tail: 150: s'],
      names: ['at rest', 'with a tail'],
      isLogarithmic: true,
    },
  },
  'offline-return': {
    title: 'Everybody comes back',
    asked:
      '1,000 clients of 100 documents come back in one moment with 20 edits each, and wait until they have those of all others. Of `ws`: connects and echoes alone.',
    columns: [
      { header: 'all have everything after ms', figure: 'convergedMs', better: 'less' },
      { header: 'server CPU ms', figure: 'serverCpuMs', better: 'less' },
    ],
    drawn: {
      title: '1,000 clients come back with 20 edits each: until all have everything',
      unit: 'ms; less is better; logarithmic',
      headers: ['all have everything after ms'],
      isLogarithmic: true,
    },
  },
  durability: {
    title: 'kill -9',
    asked:
      '50 documents are typed into, 2,500 edits a second together, when the server gets SIGKILL; its database, where it is another process, does not. A new one starts on what is stored, and no client comes back with what it has.',
    columns: [
      { header: 'edits that others had seen', figure: 'seen' },
      { header: 'of them gone', figure: 'seenAndLost', better: 'less' },
      { header: 'gone %', figure: 'seenAndLostPercent' },
    ],
    drawn: {
      title: 'kill -9 under load: edits that others had seen, and that are gone',
      unit: '% of those seen; less is better',
      headers: ['gone %'],
    },
    cannot: { 'raw-each': 'stores nothing' },
  },
  stored: {
    title: 'Bytes at rest',
    asked:
      "A writing session of one text (259,778 edits; 60,000 in quick runs), left alone until everything is stored: bytes on disk of one byte of the engine's own encoding. automerge-repo's clients send 100 edits at a time.",
    columns: [
      { header: 'kB on disk', figure: 'storedBytes', scale: 1e-3 },
      { header: 'of each byte of state', figure: 'storedOverEngineBytes', better: 'less' },
      { header: 'kB a newcomer gets', figure: 'joinBytes', scale: 1e-3, better: 'less' },
    ],
    drawn: {
      title: 'A text after a long session: bytes on disk for each byte of state',
      unit: 'less is better; logarithmic',
      headers: ['of each byte of state'],
      isLogarithmic: true,
    },
  },
  'views-latency': {
    title: 'Edit to SQL row',
    asked:
      'From the write of an edit to the moment its row can be read: 2,000 edits a second over 200 documents (500 over 50 in quick runs). No other server has rows, so beside it are bare upserts.',
    columns: [
      { header: 'p50 ms', figure: 'p50Ms' },
      { header: 'p99 ms', figure: 'p99Ms' },
    ],
    drawn: {
      title: 'Edit to SQL row',
      unit: 'ms; less is better; logarithmic',
      headers: ['p50 ms', 'p99 ms'],
      names: ['p50', 'p99'],
      isLogarithmic: true,
    },
    cannot: {
      'y-websocket-leveldb': noRows,
      'hocuspocus-sqlite': noRows,
      'automerge-repo': noRows,
    },
  },
}

/** In the order in which they stand. */
export const labels: Readonly<Record<string, string>> = {
  'raw-joined': 'bare `ws`, joined writes',
  'raw-each': 'bare `ws`',
  'raw-bytes': 'bare `ws`, as many bytes',
  'raw-postgres': 'bare upserts, PostgreSQL',
  'raw-pglite': 'bare upserts, PGlite',
  embedded: 'Tidemark',
  'redis-everysec': 'Tidemark, Redis',
  postgres: 'Tidemark, PostgreSQL',
  pglite: 'Tidemark, PGlite',
  'y-websocket-leveldb': 'y-websocket, leveldb',
  'embedded-hocuspocus': "Tidemark's Hocuspocus door",
  'hocuspocus-sqlite': 'Hocuspocus, SQLite',
  'hocuspocus-redis': 'Hocuspocus, SQLite and Redis',
  'embedded-automerge': "Tidemark's automerge-repo door",
  'automerge-repo': 'automerge-repo, files',
}

/** Ours that a peer's figure stands beside: the same load, spoken as its clients do. */
export const besides: readonly { readonly ours: readonly string[]; readonly theirs: readonly string[] }[] = [
  {
    ours: ['embedded', 'redis-everysec'],
    theirs: ['y-websocket-leveldb', 'hocuspocus-sqlite', 'hocuspocus-redis'],
  },
  { ours: ['embedded-automerge'], theirs: ['automerge-repo'] },
]
