/**
 * The people of the relay's model, whatever the engine: devices that edit one document each, joiners that only read, and what is
 * known of a document from outside: `produced` by devices, and `promised` by the relay, which is every update that it ever
 * sent to anybody or said to be durable.
 */

/** A document as seen from outside the relay. */
export interface Observed {
  readonly id: string
  readonly promised: readonly Uint8Array[]
  newDevice(number: number): Device
  /** Resolves with somebody who has all there is, or with null when the relay would not have it. */
  join(url: string): Promise<Joiner | null>
  /** Of a document that applied what devices have produced, as far as `known` has it, and what was promised. */
  expected(known: Joiner): Content
  /** What the relay sent that no device has produced, and what else nobody should have got. */
  wrongs(): unknown[]
  /** Throws unless any two connections got what both got in the same order; gives how many updates were compared. */
  checkOrder(): number
  /** What becomes of a client of the other engine; null: the relay would have nobody at the moment. */
  foreign(url: string): Promise<Foreign | null>
}

export type Foreign = 'joined' | 'wrong_engine'

/** All that can be told apart from outside. */
export interface Content {
  readonly json: string
}

export interface Replica {
  /** Also what waits for others. */
  has(updates: readonly Uint8Array[]): boolean
  json(): string
}

export interface Joiner extends Replica {
  readonly connected: boolean
  /** Of a document that applied what came, as it came. */
  content(): Content
  close(): void
}

export interface Device extends Replica {
  readonly observed: Observed
  /** In order, sent or not. */
  readonly produced: readonly Uint8Array[]
  readonly connected: boolean
  edit(kind: number, place: number, choice: number): void
  /** Without a connection, what is held back goes out with the next one. */
  sendHeld(reversed?: boolean): void
  /** One update of this device, sent before or not: duplicates, and later ones before earlier ones. */
  sendAny(choice: number): void
  connect(url: string): Promise<boolean>
  disconnect(): void
  /** All that was sent on this connection is promised, or the connection is gone. */
  acknowledged(): Promise<void>
  /** On this connection all has come that anybody has been promised by now, or the connection is gone. */
  caughtUp(): Promise<void>
}
