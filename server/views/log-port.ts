/**
 * What a thread needs of the relay, over a message port: calls one way, answers the other. To read the log, and to let a decision
 * into a document. Bytes go packed (packed.ts): an
 * entry's update may be a view of all that its socket had read.
 *
 * A message costs more than what is in most of them (about a tenth of a millisecond, most of it to wake the other thread). So
 * what is called in one turn is one message, and what is answered in one turn is another.
 */
import type { DocumentId } from '../../core/document-id.ts'
import { type ErrorCode, TidemarkError } from '../../core/protocol/errors.ts'
import { type Packed, pack, unpack } from '../compaction/packed.ts'
import type { Loaded, Log } from '../log/log.ts'

export type ReadLog = Pick<Log, 'load' | 'changes'>

export interface Served extends ReadLog {
  /** Resolves when the update is in the document's log; it says what the server decided. Rejects as `Room.submit`. */
  decide(document: DocumentId, update: Uint8Array): Promise<void>
}

interface Call {
  readonly id: number
  readonly verb: keyof Served
  readonly parameters: readonly unknown[]
}
type Answer =
  /** `pieces`: how many of the packed ones are its; null when it has none. */
  | { readonly id: number; readonly value: unknown; readonly pieces: number | null }
  | { readonly id: number; readonly code: ErrorCode; readonly reason: string }

interface Calls {
  readonly kind: 'call'
  readonly calls: readonly Call[]
}
interface Answers {
  readonly kind: 'answer'
  readonly answers: readonly Answer[]
  readonly packed: Packed
}

interface Port {
  postMessage(message: unknown, transfer?: ArrayBuffer[]): void
}

export function isCall(message: { readonly kind: string }): message is Calls {
  return message.kind === 'call'
}

export function isAnswer(message: { readonly kind: string }): message is Answers {
  return message.kind === 'answer'
}

/** Resolves when all are answered. Never rejects. */
export async function answer({ calls }: Calls, served: Served, port: Port): Promise<void> {
  let answers: Answer[] = []
  let pieces: Uint8Array[] = []
  const flush = (): void => {
    const packed = pack(pieces)
    port.postMessage({ kind: 'answer', answers, packed } satisfies Answers, [packed.bytes.buffer])
    answers = []
    pieces = []
  }
  const answerOne = async (call: Call): Promise<void> => {
    const [answered, own] = await answerTo(call, served)
    if (answers.length === 0) setImmediate(flush)
    answers.push(answered)
    for (const piece of own) pieces.push(piece)
  }
  await Promise.all(calls.map(answerOne))
}

async function answerTo(
  { id, verb, parameters }: Call,
  served: Served,
): Promise<[Answer, readonly Uint8Array[]]> {
  try {
    const value = await (served[verb] as (...parameters: readonly unknown[]) => Promise<unknown>).apply(
      served,
      parameters as unknown[],
    )
    if (verb !== 'load') return [{ id, value, pieces: null }, []]
    const { without, pieces } = taken(value as Loaded)
    return [{ id, value: without, pieces: pieces.length }, pieces]
  } catch (error) {
    const told = error instanceof TidemarkError
    const code = told ? error.code : 'internal'
    const reason = told ? error.message : 'The relay could not do it'
    return [{ id, code, reason }, []]
  }
}

const noBytes = new Uint8Array()

/** Three pieces of a snapshot, if there is one, then the updates of the tail. */
function taken({ snapshot, tail, offset }: Loaded): {
  readonly without: Loaded
  readonly pieces: readonly Uint8Array[]
} {
  const first = snapshot === null ? [] : [snapshot.bytes, snapshot.index, snapshot.metadata]
  const without = {
    snapshot: snapshot && { ...snapshot, bytes: noBytes, index: noBytes, metadata: noBytes },
    tail: tail.map((entry) => ({ ...entry, update: noBytes })),
    offset,
  }
  return { without, pieces: [...first, ...tail.map(({ update }) => update)] }
}

function putBack({ snapshot, tail, offset }: Loaded, pieces: Uint8Array[]): Loaded {
  const [bytes, index, metadata] = snapshot === null ? [] : pieces.splice(0, 3)
  return {
    snapshot: snapshot && { ...snapshot, bytes: bytes!, index: index!, metadata: metadata! },
    tail: tail.map((entry, i) => ({ ...entry, update: pieces[i]! })),
    offset,
  }
}

/** The other end. */
export class RemoteLog implements Served {
  private readonly port: Port
  private readonly calls = new Map<
    number,
    { readonly resolve: (value: never) => void; readonly reject: (error: Error) => void }
  >()
  private count = 0
  private waiting: Call[] = []

  constructor(port: Port) {
    this.port = port
  }

  load(...parameters: Parameters<Log['load']>): ReturnType<Log['load']> {
    return this.call('load', parameters)
  }

  changes(...parameters: Parameters<Log['changes']>): ReturnType<Log['changes']> {
    return this.call('changes', parameters)
  }

  decide(...parameters: Parameters<Served['decide']>): Promise<void> {
    return this.call('decide', parameters)
  }

  answered({ answers, packed }: Answers): void {
    const pieces = unpack(packed)
    for (const answer of answers) {
      const call = this.calls.get(answer.id)
      this.calls.delete(answer.id)
      if ('code' in answer) call?.reject(new TidemarkError(answer.code, answer.reason))
      else if (answer.pieces === null) call?.resolve(answer.value as never)
      else call?.resolve(putBack(answer.value as Loaded, pieces.splice(0, answer.pieces)) as never)
    }
  }

  private call<T>(verb: keyof Served, parameters: readonly unknown[]): Promise<T> {
    const id = this.count++
    return new Promise<T>((resolve, reject) => {
      this.calls.set(id, { resolve, reject })
      if (this.waiting.length === 0) queueMicrotask(() => this.flush())
      this.waiting.push({ id, verb, parameters })
    })
  }

  private flush(): void {
    const calls = this.waiting
    this.waiting = []
    this.port.postMessage({ kind: 'call', calls } satisfies Calls)
  }
}
