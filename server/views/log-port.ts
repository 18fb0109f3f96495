/**
 * What a thread needs of the log, over a message port: calls one way, answers the other. Bytes go packed (packed.ts): an
 * entry's update may be a view of all that its socket had read.
 */
import { type ErrorCode, TidemarkError } from '../../core/protocol/errors.ts'
import { type Packed, pack, unpack } from '../compaction/packed.ts'
import type { Loaded, Log } from '../log/log.ts'

export type ReadLog = Pick<Log, 'load' | 'changes'>

interface Call {
  readonly kind: 'call'
  readonly id: number
  readonly verb: keyof ReadLog
  readonly parameters: readonly unknown[]
}
type Answer =
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown; readonly packed: Packed | null }
  | { readonly kind: 'failure'; readonly id: number; readonly code: ErrorCode; readonly reason: string }

interface Port {
  postMessage(message: unknown, transfer?: ArrayBuffer[]): void
}

export function isCall(message: { readonly kind: string }): message is Call {
  return message.kind === 'call'
}

export function isAnswer(message: { readonly kind: string }): message is Answer {
  return message.kind === 'answer' || message.kind === 'failure'
}

/** Never rejects. */
export async function answer(call: Call, log: ReadLog, port: Port): Promise<void> {
  const { id, verb, parameters } = call
  try {
    const value = await (log[verb] as (...parameters: readonly unknown[]) => Promise<unknown>).apply(
      log,
      parameters as unknown[],
    )
    if (verb !== 'load') return port.postMessage({ kind: 'answer', id, value, packed: null } satisfies Answer)
    const { without, packed } = packLoaded(value as Loaded)
    port.postMessage({ kind: 'answer', id, value: without, packed } satisfies Answer, [packed.bytes.buffer])
  } catch (error) {
    const told = error instanceof TidemarkError
    const code = told ? error.code : 'internal'
    const reason = told ? error.message : 'The log could not be read'
    port.postMessage({ kind: 'failure', id, code, reason } satisfies Answer)
  }
}

const noBytes = new Uint8Array()

/** Three pieces of a snapshot, if there is one, then the updates of the tail. */
function packLoaded({ snapshot, tail, offset }: Loaded): {
  readonly without: Loaded
  readonly packed: Packed
} {
  const first = snapshot === null ? [] : [snapshot.bytes, snapshot.index, snapshot.metadata]
  const without = {
    snapshot: snapshot && { ...snapshot, bytes: noBytes, index: noBytes, metadata: noBytes },
    tail: tail.map((entry) => ({ ...entry, update: noBytes })),
    offset,
  }
  return { without, packed: pack([...first, ...tail.map(({ update }) => update)]) }
}

function unpackLoaded({ snapshot, tail, offset }: Loaded, packed: Packed): Loaded {
  const pieces = unpack(packed)
  const [bytes, index, metadata] = snapshot === null ? [] : pieces.splice(0, 3)
  return {
    snapshot: snapshot && { ...snapshot, bytes: bytes!, index: index!, metadata: metadata! },
    tail: tail.map((entry, i) => ({ ...entry, update: pieces[i]! })),
    offset,
  }
}

/** The other end. */
export class RemoteLog implements ReadLog {
  private readonly port: Port
  private readonly calls = new Map<
    number,
    { readonly resolve: (value: never) => void; readonly reject: (error: Error) => void }
  >()
  private count = 0

  constructor(port: Port) {
    this.port = port
  }

  load(...parameters: Parameters<Log['load']>): ReturnType<Log['load']> {
    return this.call('load', parameters)
  }

  changes(...parameters: Parameters<Log['changes']>): ReturnType<Log['changes']> {
    return this.call('changes', parameters)
  }

  answered(message: Answer): void {
    const call = this.calls.get(message.id)
    this.calls.delete(message.id)
    if (message.kind === 'failure') call?.reject(new TidemarkError(message.code, message.reason))
    else if (message.packed === null) call?.resolve(message.value as never)
    else call?.resolve(unpackLoaded(message.value as Loaded, message.packed) as never)
  }

  private call<T>(verb: keyof ReadLog, parameters: readonly unknown[]): Promise<T> {
    const id = this.count++
    return new Promise<T>((resolve, reject) => {
      this.calls.set(id, { resolve, reject })
      this.port.postMessage({ kind: 'call', id, verb, parameters } satisfies Call)
    })
  }
}
