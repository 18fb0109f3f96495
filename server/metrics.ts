/**
 * What /metrics tells. Names and units are Prometheus's own: seconds, bytes, `_total`. Latencies are
 * observed once per batch, not per update: the observation must not cost what it measures.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Decided } from './arbiter/arbiter.ts'
import type { ViewsFigures } from './views/views-messages.ts'

const secondsBuckets = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 5]

const noViews: ViewsFigures = {
  pending: 0,
  projected: 0,
  dead: 0,
  unavailable: false,
  intents: 0,
  rebuilding: [],
}

export interface Gauges {
  connections(): number
  bufferedBytes(): number
  rooms(): number
  tailBytes(): number
  imageBytes(): number
}

export class Metrics {
  readonly registry = new Registry()
  private readonly appends: Counter
  private readonly appendFailures: Counter
  private readonly appendSeconds: Histogram
  private readonly fanOutSeconds: Histogram
  private readonly deliveries: Counter
  private readonly behind: Counter
  private readonly bytesIn: Counter
  private readonly refusals: Counter<'code'>
  private readonly quarantined: Counter
  private readonly compactions: Counter<'result'>
  private readonly compactionSeconds: Histogram
  private readonly coldDocuments: Counter<'result'>
  private readonly webhooks: Counter<'result'>
  private readonly decisions: Counter<'result'>
  private readonly decisionSeconds: Histogram
  private readonly liveRuns: Counter
  private webhookLagSeconds = (): number => 0
  private liveQueries = (): number => 0
  private views: () => ViewsFigures = () => noViews
  private readonly counter = <L extends string = string>(
    name: string,
    help: string,
    labelNames: L[] = [],
  ): Counter<L> => new Counter<L>({ name: `tidemark_${name}`, help, labelNames, registers: [this.registry] })
  private readonly histogram = (name: string, help: string): Histogram =>
    new Histogram({ name: `tidemark_${name}`, help, buckets: secondsBuckets, registers: [this.registry] })

  constructor() {
    this.appends = this.counter('appends_total', 'Updates appended to the log, durable')
    this.appendFailures = this.counter('append_failures_total', 'Updates that the log refused')
    this.appendSeconds = this.histogram('append_seconds', 'From the end of the tick to durable, per batch')
    this.fanOutSeconds = this.histogram(
      'fan_out_seconds',
      'From taken in to written to the sockets, per batch',
    )
    this.deliveries = this.counter('deliveries_total', 'Updates written to sessions')
    this.behind = this.counter('sessions_behind_total', 'Times a slow session was marked for a later resync')
    this.bytesIn = this.counter('received_bytes_total', 'Bytes of messages from sessions')
    this.refusals = this.counter(
      'refusals_total',
      'Sessions, documents and requests refused or ended with a row of the error table',
      ['code'],
    )
    this.quarantined = this.counter('quarantined_total', 'Updates set aside because they break the engine')
    this.compactions = this.counter('compactions_total', 'Compactions by result', ['result'])
    this.compactionSeconds = this.histogram('compaction_seconds', 'Duration of compactions')
    this.webhooks = this.counter('webhook_deliveries_total', 'Announcements of changes by result', ['result'])
    this.gauge('webhook_lag_seconds', 'Age of the oldest change to be announced', () =>
      this.webhookLagSeconds(),
    )
    this.gauge(
      'views_projected_documents',
      'Documents brought up to date as rows, since the start',
      () => this.views().projected,
    )
    this.gauge('views_pending', 'Documents that wait to be projected into rows', () => this.views().pending)
    this.gauge(
      'views_dead_documents',
      'Documents that could not be projected, since the start',
      () => this.views().dead,
    )
    this.gauge('views_rebuild_ratio', 'How far tables are that are being built; 1 when none are', () =>
      Math.min(1, ...this.views().rebuilding.map(({ ratio }) => ratio)),
    )
    this.gauge('views_unavailable', '1 while the database of the views cannot be reached', () =>
      Number(this.views().unavailable),
    )
    this.gauge('intents_waiting', 'Intents that wait for a decision of this node', () => this.views().intents)
    this.decisions = this.counter('decisions_total', 'Decisions on intents, by result', ['result'])
    // There from the start, so that a rate can be told of the first one.
    for (const result of ['accepted', 'rejected', 'claimed', 'repeated']) this.decisions.inc({ result }, 0)
    this.decisionSeconds = this.histogram(
      'decision_seconds',
      'From an intent seen to its decision durable, the longest of each batch',
    )
    this.gauge('live_queries', 'Live queries that are listened to', () => this.liveQueries())
    this.liveRuns = this.counter('live_runs_total', 'Runs of live queries')
    this.coldDocuments = this.counter('cold_documents_total', 'Idle documents by what became of them', [
      'result',
    ])
    collectDefaultMetrics({ register: this.registry })
  }

  private gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name: `tidemark_${name}`,
      help,
      registers: [this.registry],
      collect() {
        this.set(read())
      },
    })
  }

  /** Read when somebody asks. */
  watch(gauges: Gauges): void {
    this.gauge('connections', 'Open WebSocket connections', gauges.connections)
    this.gauge(
      'buffered_bytes',
      'Bytes that sessions were sent and their sockets did not take yet',
      gauges.bufferedBytes,
    )
    this.gauge('rooms', 'Open rooms', gauges.rooms)
    this.gauge('tail_bytes', 'Bytes of updates after the snapshots of open rooms', gauges.tailBytes)
    this.gauge('image_bytes', 'Bytes kept in memory to answer joins', gauges.imageBytes)
  }

  appended(count: number, ms: number): void {
    this.appends.inc(count)
    this.appendSeconds.observe(ms / 1000)
  }

  appendFailed(count: number): void {
    this.appendFailures.inc(count)
  }

  fannedOut(deliveries: number, ms: number): void {
    this.deliveries.inc(deliveries)
    this.fanOutSeconds.observe(ms / 1000)
  }

  fellBehind(): void {
    this.behind.inc()
  }

  received(bytes: number): void {
    this.bytesIn.inc(bytes)
  }

  refused(code: string): void {
    this.refusals.inc({ code })
  }

  setAside(): void {
    this.quarantined.inc()
  }

  compacted(result: 'done' | 'lost' | 'nothing' | 'leased' | 'failed', ms: number): void {
    this.compactions.inc({ result })
    if (result === 'done') this.compactionSeconds.observe(ms / 1000)
  }

  coldDocument(result: 'frozen' | 'skipped' | 'failed'): void {
    this.coldDocuments.inc({ result })
  }

  /** Read when somebody asks. */
  watchWebhooks(lagSeconds: () => number): void {
    this.webhookLagSeconds = lagSeconds
  }

  watchViews(figures: () => ViewsFigures): void {
    this.views = figures
  }

  decided({ longestMs, ...results }: Decided): void {
    for (const [result, count] of Object.entries(results)) this.decisions.inc({ result }, count)
    this.decisionSeconds.observe(longestMs / 1000)
  }

  watchLive(queries: () => number): void {
    this.liveQueries = queries
  }

  liveRan(count: number): void {
    this.liveRuns.inc(count)
  }

  announced(result: 'delivered' | 'failed' | 'dropped'): void {
    this.webhooks.inc({ result })
  }
}
