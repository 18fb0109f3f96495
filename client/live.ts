/**
 * A live query: a stream of server-sent events that is opened again whenever it ends.
 *
 * - When to try, how long to wait, when to give up and when a new token is worth a try is the connection's own machine
 *   (connection-state.ts); here `authenticating` is an answer without rows yet.
 * - The id of the last event goes with the next attempt, so that the server sends only what changed meanwhile, or nothing. What
 *   does not fit the rows that are here is no error of the app: everything is asked for anew.
 * - Silence is noticed: the server says something every 15 s.
 * - When the client's socket is back, the server is: that brings forward what waits. `client.pause()` pauses this too.
 *
 * Rejected: `EventSource`, which sends no token in a header, says nothing of why it failed, and is not in Node 20.
 */
import { createParser, type EventSourceMessage } from 'eventsource-parser'
import { TidemarkError } from '../core/protocol/error-codes.ts'
import { apply } from '../core/protocol/live-rows.ts'
import type { LiveChange, LiveRow, LiveRows, QueryColumn, QueryValue } from '../core/protocol/query.ts'
import { type Asker, errorOf, refusalOf, retryAfterMs, send } from './asking.ts'
import { type ConnectionEvent, initially, isConnected, retryAtOf, step } from './connection-state.ts'
import { Alarm } from './environment.ts'
import type { LiveListener, LiveOptions, LiveQuery, LiveState } from './query-types.ts'

/** From the attempt to the first event. The query may wait its turn. */
const answerMsMax = 60_000
/** Three of the server's heartbeats. */
const silenceMsMax = 45_000
/** Of one event, in characters; the server's own limit is lower. */
const eventLengthMax = 64 * 1024 * 1024

export function live<Row extends object>(
  asker: Asker,
  sql: string,
  params: readonly QueryValue[] = [],
  listener: LiveListener<Row> = () => undefined,
  options: LiveOptions = {},
): LiveQuery<Row> {
  const closing = asker.closing.signal
  if (closing.aborted) throw new TidemarkError('invalid_request', 'The client is closed')
  const { key, signal } = options
  const request = JSON.stringify({ sql, params, key: key?.join(',') })
  const open = new Live<Row>(asker, request, listener)
  const ending = signal === undefined ? closing : AbortSignal.any([closing, signal])
  open.start(ending)
  return open
}

class Live<Row extends object> implements LiveQuery<Row> {
  columns: readonly QueryColumn[] = []
  rows: readonly Row[] = []
  loaded = false
  readonly #asker: Asker
  readonly #request: string
  readonly #listener: LiveListener<Row>
  readonly #retry: Alarm
  readonly #silence: Alarm
  readonly #waiting = new Set<() => void>()
  readonly #stops: (() => void)[] = []
  #machine = initially
  #closed = false
  #attempt: AbortController | null = null
  #list: readonly LiveRow[] = []
  #eventId = ''

  constructor(asker: Asker, request: string, listener: LiveListener<Row>) {
    const { environment } = asker
    this.#asker = asker
    this.#request = request
    this.#listener = listener
    this.#retry = new Alarm(environment, () => this.#tell({ kind: 'due' }))
    this.#silence = new Alarm(environment, () => this.#lost(this.#attempt, null))
  }

  get state(): LiveState {
    if (this.#closed) return 'closed'
    const { kind } = this.#machine
    return kind === 'authenticating' ? 'connecting' : kind
  }

  get error(): TidemarkError | null {
    return this.#machine.error
  }

  start(ending: AbortSignal): void {
    const { environment } = this.#asker
    if (ending.aborted) return this.close()
    const end = (): void => this.close()
    ending.addEventListener('abort', end)
    this.#stops.push(
      () => ending.removeEventListener('abort', end),
      environment.listen((event) => {
        if (event !== 'hidden') this.#tell({ kind: event })
      }),
      this.#asker.on('event', ({ document, event }) => {
        if (document !== null) return
        if (event === 'paused') this.#tell({ kind: 'pause' })
        if (event === 'resumed') this.#tell({ kind: 'resume' })
        if (event === 'live') this.#tell({ kind: 'online' })
      }),
    )
    if (this.#asker.paused) this.#tell({ kind: 'pause' })
    if (!environment.online()) this.#tell({ kind: 'offline' })
    this.#tell({ kind: 'want' })
  }

  retry(): void {
    this.#tell({ kind: 'retry' })
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    for (const stop of this.#stops.splice(0)) stop()
    this.#tell({ kind: 'unwant' })
    this.#changed()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<readonly Row[], void, void> {
    let given: readonly Row[] | null = null
    for (;;) {
      if (this.loaded && given !== this.rows) {
        given = this.rows
        yield given
        continue
      }
      if (this.#closed) return
      if (this.state === 'refused') throw this.error
      await new Promise<void>((resolve) => this.#waiting.add(resolve))
    }
  }

  #tell(event: ConnectionEvent): void {
    const { environment, connection } = this.#asker
    const before = this.#machine
    const state = step(before, event, {
      nowMs: environment.now(),
      random: environment.random(),
      tokenRenewable: connection.tokenRenewable,
    })
    this.#machine = state
    if (isConnected(before) && !isConnected(state)) this.#drop()
    if (state.kind === 'connecting' && before.kind !== 'connecting') void this.#connect()
    this.#retry.at(retryAtOf(state))
    if (!this.#closed && (before.kind !== state.kind || before.error !== state.error)) this.#changed()
  }

  /** Never rejects. */
  async #connect(): Promise<void> {
    const attempt = new AbortController()
    this.#attempt = attempt
    this.#silence.at(this.#asker.environment.now() + answerMsMax)
    try {
      const headers = {
        accept: 'text/event-stream',
        ...(this.#eventId === '' ? {} : { 'last-event-id': this.#eventId }),
      }
      const answer = await send(this.#asker, 'live', this.#request, attempt.signal, headers)
      if (!answer.ok) {
        const refusal = await refusalOf(answer)
        if (attempt === this.#attempt) this.#tell({ kind: 'drain', milliseconds: retryAfterMs(answer) })
        return this.#lost(attempt, refusal)
      }
      if (attempt === this.#attempt) this.#tell({ kind: 'socket-open' })
      await this.#listen(answer, attempt)
      this.#lost(attempt, null)
    } catch (error) {
      // Without a network, cut off, or not what was expected of the server: worth another attempt, with backoff.
      this.#lost(attempt, error instanceof TidemarkError ? error : null)
    }
  }

  async #listen(answer: Response, attempt: AbortController): Promise<void> {
    const isEvents = answer.headers.get('content-type')?.startsWith('text/event-stream') === true
    if (answer.body === null || !isEvents) throw new Error('not a stream of events')
    // What is here already is current, or the first event says otherwise.
    if (this.#eventId !== '') this.#welcome()
    let failure: unknown = null
    const parser = createParser({
      maxBufferSize: eventLengthMax,
      onEvent: (event) => {
        if (attempt === this.#attempt && failure === null)
          try {
            this.#hear(event, attempt)
          } catch (error) {
            this.#eventId = ''
            failure = error
          }
      },
    })
    const reader = answer.body.getReader()
    const decoder = new TextDecoder()
    for (;;) {
      const { done, value } = await reader.read()
      if (done || attempt !== this.#attempt) return
      this.#silence.at(this.#asker.environment.now() + silenceMsMax)
      parser.feed(decoder.decode(value, { stream: true }))
      if (failure !== null) {
        await reader.cancel()
        throw new Error('an event that does not fit', { cause: failure })
      }
    }
  }

  /** Throws for what does not fit. */
  #hear({ event, id, data }: EventSourceMessage, attempt: AbortController): void {
    if (event === 'rows') {
      const { columns, rows } = JSON.parse(data) as LiveRows
      this.columns = columns
      this.#take(rows)
    } else if (event === 'change') this.#take(apply(this.#list, JSON.parse(data) as LiveChange))
    else if (event === 'error') {
      const { code, message } = JSON.parse(data) as { code: string; message: string }
      return this.#lost(attempt, errorOf(code, message, false))
    } else return
    this.#eventId = id ?? ''
    if (this.#machine.kind === 'live') this.#changed()
    else this.#welcome()
  }

  #take(list: readonly LiveRow[]): void {
    this.#list = list
    this.rows = list.map(({ row }) => row as Row)
    this.loaded = true
  }

  #welcome(): void {
    this.#tell({ kind: 'welcome' })
    this.#tell({ kind: 'proven' })
  }

  #lost(attempt: AbortController | null, error: TidemarkError | null): void {
    if (attempt !== null && attempt === this.#attempt) this.#tell({ kind: 'lost', error })
  }

  #drop(): void {
    this.#silence.at(null)
    this.#attempt?.abort()
    this.#attempt = null
  }

  #changed(): void {
    for (const resolve of this.#waiting) resolve()
    this.#waiting.clear()
    try {
      this.#listener(this)
    } catch (error) {
      console.error('Tidemark listener', error)
    }
  }
}
