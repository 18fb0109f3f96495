/**
 * The thread in which PGlite computes. One batch at a time: a message in, a message out. See embedded-sql.ts.
 *
 * It speaks the wire protocol instead of PGlite's own `query`: all statements of a batch are one call, and values stay
 * as PostgreSQL writes them.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { PGlite, protocol } from '@electric-sql/pglite'
import { ViewsPort } from '../socket/port.ts'
import { beginDatabase } from './embedded-beginning.ts'
import type { FromWorker, ToWorker, WorkerSettings } from './embedded-messages.ts'
import { batchesBetweenUpkeep, upkeep } from './embedded-upkeep.ts'
import { type Parameter, type Result, SqlError, type Statement } from './sql.ts'
import { type Answer, columnOf, countOf, lost, placeOf, transact } from './transaction.ts'

const { serialize } = protocol
const settings = workerData as WorkerSettings
const port = parentPort
if (port === null) throw new Error('To be run as a worker thread')
const say = (message: FromWorker): void => port.postMessage(message)
const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

let database: PGlite
try {
  const notBegun = await beginDatabase(settings.database, settings.initial).then(() => null, reasonOf)
  database = await PGlite.create(settings.database)
  say({ type: 'up', notBegun })
} catch (error) {
  say({ type: 'failed', reason: reasonOf(error) })
  process.exit(1)
}

/** Null: nobody else is to connect. */
const viewsPort = settings.port === 0 ? null : new ViewsPort(database)
viewsPort
  ?.listen(settings.port)
  .catch((error: unknown) => say({ type: 'port_failed', reason: reasonOf(error) }))

port.on('message', (message: ToWorker) => {
  switch (message.type) {
    case 'batch':
      void answer(message).then(keepUp)
      return
    case 'close':
      void close().then(
        () => say({ type: 'closed' }),
        () => process.exit(1),
      )
      return
    default:
      message satisfies never
  }
})

async function close(): Promise<void> {
  await viewsPort?.close()
  await database.close()
}

async function answer({ statements, options }: Extract<ToWorker, { type: 'batch' }>): Promise<void> {
  try {
    const results: readonly Result[] = await database.runExclusive(() =>
      transact(pipeline, statements, options),
    )
    say({ type: 'done', results })
  } catch (error) {
    const failure = error instanceof SqlError ? error : lost(error, 'unknown')
    const { code, outcome, statement, position, retryable } = failure
    say({
      type: 'refused',
      message: failure.message,
      details: {
        code,
        outcome,
        retryable,
        ...(statement !== undefined && { statement }),
        ...(position !== undefined && { position }),
      },
    })
    // Without an answer of PostgreSQL, the instance is not in a state that can be known.
    if (code.startsWith('08')) process.exit(1)
  }
}

let batches = 0

/** After its answer; a batch that comes meanwhile waits in `runExclusive`. */
async function keepUp(): Promise<void> {
  if (++batches % batchesBetweenUpkeep !== 0) return
  try {
    const done = await database.runExclusive(() => upkeep(pipeline))
    // There may be more to do: look again soon.
    if (done !== null) batches -= batchesBetweenUpkeep / 10
  } catch (error) {
    say({ type: 'upkeep_failed', reason: reasonOf(error) })
  }
}

async function pipeline(statements: readonly Statement[]): Promise<readonly Answer[]> {
  const parts = statements.flatMap(({ text, parameters = [], script }) =>
    script === true
      ? // A simple query is its own sync: what stands before it is answered first.
        [serialize.query(text)]
      : [
          serialize.parse({ text }),
          serialize.bind({ values: parameters.map(textOf) }),
          serialize.describe({ type: 'P' }),
          serialize.execute({}),
        ],
  )
  const { messages } = await database.execProtocol(Buffer.concat([...parts, serialize.sync()]), {
    throwOnError: false,
  })
  return answersOf(messages, statements)
}

function textOf(value: Parameter): string | null {
  if (value === null) return null
  return value instanceof Uint8Array ? `\\x${Buffer.from(value).toString('hex')}` : String(value)
}

type Messages = Awaited<ReturnType<PGlite['execProtocol']>>['messages']

/** PGlite's type of a message has its name only; these are the fields of the backend's messages that are read here. */
type Read =
  | { readonly name: 'error'; readonly code?: string; readonly message: string; readonly position?: string }
  | {
      readonly name: 'rowDescription'
      readonly fields: readonly { readonly name: string; readonly dataTypeID: number }[]
    }
  | { readonly name: 'dataRow'; readonly fields: (string | null)[] }
  | { readonly name: 'commandComplete'; readonly text: string }
  | { readonly name: 'readyForQuery' }

function answersOf(messages: Messages, statements: readonly Statement[]): Answer[] {
  const answers: Answer[] = []
  let columns: Result['columns'] = []
  let rows: (string | null)[][] = []
  for (const message of messages as readonly unknown[] as readonly Read[]) {
    if (message.name === 'error') {
      const { code = 'XX000', message: text, position } = message
      answers.push({ refused: { code, message: text, ...placeOf(position) } })
      return answers
    }
    if (message.name === 'rowDescription') {
      columns = message.fields.map((field) => columnOf(field.name, field.dataTypeID))
    } else if (message.name === 'dataRow') {
      rows.push(message.fields)
    } else if (message.name === 'commandComplete' && statements[answers.length]?.script !== true) {
      const { text } = message
      answers.push({ rows, columns, count: countOf(text), tag: text })
      columns = []
      rows = []
    } else if (message.name === 'readyForQuery' && statements[answers.length]?.script === true) {
      answers.push({ rows: [], columns: [], count: 0, tag: 'SCRIPT' })
      columns = []
      rows = []
    }
  }
  return answers
}
