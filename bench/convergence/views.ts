/**
 * What the views say of a document. A watcher asks all the time, with one statement and so of one moment, how far the rows are and
 * what they say; at the end each answer is held against the log as of that offset. Rows and offset that change in two
 * transactions are seen apart sooner or later, and at once after a kill between them.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { Engine } from './clients/engine.ts'
import type { Content } from './clients/replica.ts'
import type { Observer } from './observer.ts'
import { type Oracle, Violation } from './oracle.ts'
import { type Timeline, until } from './timeline.ts'
import type { World } from './world.ts'

const askMs = 15
const reconnectMs = 100
const followMsMax = 60_000
const rebuildMsMax = 120_000
const samplesMax = 10_000

interface Sample {
  readonly offset: number
  readonly edits: number
  readonly names: number
}

const question = `
  select p."offset"::int as "offset", coalesce((select edits from pages.pages where document = $1), 0) as edits,
    (select count(*)::int from pages.edits where document = $1) as names
  from tidemark.progress p where p.adapter = 'pages' and p.document = $1`

/** What there is to see of views that stand still. */
const stuckQuestion = `
  select (select json_agg(p) from tidemark.progress p where p.document = $1) as progress,
    (select json_agg(d) from tidemark.dead_letters d) as dead, (select json_agg(c) from (select name, min(sequence), max(sequence), count(*) from tidemark.cursors group by 1) c) as cursors,
    (select json_agg(a) from (select schema, version from tidemark.adapters) a) as adapters,
    (select json_agg(h) from (select holder, until, count(*) from tidemark.parts group by 1, 2) h) as parts`

export class ViewsWatch {
  readonly samples = new Map<string, Sample>()
  private readonly url: string
  private readonly document: string
  private readonly engine: Engine
  private closed = false
  private running: Promise<void> = Promise.resolve()

  private constructor(url: string, document: string, engine: Engine) {
    this.url = url
    this.document = document
    this.engine = engine
  }

  static start(url: string, document: string, engine: Engine): ViewsWatch {
    const watch = new ViewsWatch(url, document, engine)
    watch.running = watch.run()
    return watch
  }

  async close(): Promise<void> {
    this.closed = true
    await this.running
  }

  private async run(): Promise<void> {
    while (!this.closed) {
      await this.watch().catch(() => undefined) // PostgreSQL was killed, or has no tables yet: it is asked again.
      await sleep(reconnectMs)
    }
  }

  private async watch(): Promise<void> {
    await connected(this.url, async (client) => {
      while (!this.closed) {
        const { rows } = await client.query<Sample>(question, [this.document])
        for (const sample of rows)
          if (this.samples.size < samplesMax) this.samples.set(JSON.stringify(sample), sample)
        await sleep(askMs)
      }
    })
  }

  /** Every answer was right as of its offset. */
  assertNeverApart({ entries }: Oracle): void {
    const reading = this.engine.read()
    const samples = [...this.samples.values()].sort((a, b) => a.offset - b.offset)
    let at = 0
    for (const { offset, edits, names } of samples) {
      while (at < offset) {
        const update = entries.get(at + 1)
        // Observers were away, and what they missed was compacted: from here on it cannot be told.
        if (update === undefined) return
        reading.apply([update])
        at++
      }
      const size = reading.edits
      if (edits !== size || names !== size)
        throw new Violation(
          `rows say that they are as of offset ${offset}, where there are ${size} edits, and have ${edits} (${names} rows)`,
        )
    }
  }
}

/** The rows follow the log, are what the replicas have, and what a rebuild makes. */
export async function checkViews(
  world: World,
  watch: ViewsWatch,
  oracle: Oracle,
  observer: Observer,
  content: Content,
  fold: string,
  rebuild: boolean,
  timeline: Timeline,
): Promise<void> {
  const { document } = observer
  await connected(world.postgres!.url, async (client) => {
    const offsets = async (): Promise<boolean> => {
      const text = `select adapter from tidemark.progress where document = $1 and "offset" >= $2 and adapter in ('pages', 'rules')`
      return (await client.query(text, [document, observer.offset])).rows.length === 2
    }
    try {
      await until('the views have followed', offsets, followMsMax)
    } catch (error) {
      const stuck = await client.query(stuckQuestion, [document])
      throw new Violation(
        `the views do not follow to offset ${observer.offset}: ${String(error)}, ${JSON.stringify(stuck.rows)}, ${JSON.stringify(world.nodes.map(({ notes }) => notes))}`,
      )
    }
    timeline.say('views', `have followed to offset ${observer.offset}`)
    const { rows } = await client.query<{ name: string }>(
      'select name from pages.edits where document = $1',
      [document],
    )
    const names = rows.map(({ name }) => name)
    const missing = [...content.edits].filter((name) => !names.includes(name))
    if (missing.length > 0 || names.length !== content.edits.size)
      throw new Violation(
        `${names.length} rows for ${content.edits.size} edits; there is none for ${missing}`,
      )
    const [row] = (
      await client.query<Record<string, unknown>>('select * from rules.rules where document = $1', [document])
    ).rows
    assertFields(row ?? {}, fold)
  })
  watch.assertNeverApart(oracle)
  if (rebuild) await checkRebuild(world, timeline)
}

function assertFields(row: Readonly<Record<string, unknown>>, fold: string): void {
  const fields = Object.fromEntries(JSON.parse(fold) as [string, unknown][])
  const { value } = fields['stock'] as { value: number }
  const { state } = fields['state'] as { state: string }
  // Numbers of any size come as text.
  const said = JSON.stringify([Number(row['stock']), row['state'], Number(row['count'])])
  const expected = JSON.stringify([value, state, fields['count']])
  if (said !== expected) throw new Violation(`the row of the rules says ${said}, the replicas ${expected}`)
}

interface Status {
  readonly adapters: readonly {
    readonly name: string
    readonly state: string
    readonly lastRebuild: {
      readonly ended: string
      readonly differing: number
      readonly sample: readonly string[]
    } | null
  }[]
}

async function checkRebuild({ nodes }: World, timeline: Timeline): Promise<void> {
  const [node] = nodes
  const ask = async (method: string, path: string): Promise<Status> => {
    const answer = await fetch(`${node!.url}/v1/views${path}`, { method })
    return (await answer.json()) as Status
  }
  const isLive = async (): Promise<boolean> => {
    const { adapters = [] } = await ask('GET', '')
    return adapters.length > 0 && adapters.every(({ state }) => state === 'live')
  }
  try {
    await until('earlier rebuilds have ended', isLive, rebuildMsMax)
  } catch (error) {
    throw new Violation(`${String(error)}, ${JSON.stringify(await ask('GET', ''))}`)
  }
  await ask('POST', '/rebuild')
  const before = new Map(
    (await ask('GET', '')).adapters.map(({ name, lastRebuild }) => [name, lastRebuild?.ended]),
  )
  let last: Status = { adapters: [] }
  const isDone = async (): Promise<boolean> => {
    last = await ask('GET', '')
    const { adapters = [] } = last
    return (
      adapters.length > 0 &&
      adapters.every(
        ({ name, state, lastRebuild }) => state === 'live' && lastRebuild?.ended !== before.get(name),
      )
    )
  }
  await until('the views are built anew', isDone, rebuildMsMax)
  for (const { name, lastRebuild } of last.adapters)
    if (lastRebuild !== null && lastRebuild.differing > 0)
      throw new Violation(`a rebuild of ${name} has other rows for ${lastRebuild.sample.join(', ')}`)
  timeline.say('views', 'are what a rebuild makes')
}

async function connected(url: string, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  // A query that is under way rejects as well.
  client.on('error', () => undefined)
  await client.connect()
  try {
    await work(client)
  } finally {
    await client.end()
  }
}
