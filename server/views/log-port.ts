/** What a thread needs of the log, over a message port: calls one way, answers the other. */
import { type ErrorCode, TidemarkError } from '../../core/protocol/errors.ts'
import type { Log } from '../log/log.ts'

export type ReadLog = Pick<Log, 'load' | 'changes'>

interface Call {
  readonly kind: 'call'
  readonly id: number
  readonly verb: keyof ReadLog
  readonly parameters: readonly unknown[]
}
type Answer =
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'failure'; readonly id: number; readonly code: ErrorCode; readonly reason: string }

interface Port {
  postMessage(message: unknown): void
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
    port.postMessage({ kind: 'answer', id, value } satisfies Answer)
  } catch (error) {
    const told = error instanceof TidemarkError
    const code = told ? error.code : 'internal'
    const reason = told ? error.message : 'The log could not be read'
    port.postMessage({ kind: 'failure', id, code, reason } satisfies Answer)
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
    if (message.kind === 'answer') call?.resolve(message.value as never)
    else call?.reject(new TidemarkError(message.code, message.reason))
  }

  private call<T>(verb: keyof ReadLog, parameters: readonly unknown[]): Promise<T> {
    const id = this.count++
    return new Promise<T>((resolve, reject) => {
      this.calls.set(id, { resolve, reject })
      this.port.postMessage({ kind: 'call', id, verb, parameters } satisfies Call)
    })
  }
}
