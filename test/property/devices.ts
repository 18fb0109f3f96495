/**
 * The people of the relay's model: devices that edit one document each, watchers that only read, and what
 * is known of a document from outside: `produced` by devices, and `promised` by the relay, which is
 * every update that it ever sent to anybody.
 */
import * as Y from 'yjs'
import type { YjsCoverage } from '../../core/engine/yjs/coverage.ts'
import { yjsEngine } from '../../core/engine/yjs/yjs-engine.ts'
import { edit } from '../core/engine/random-documents.ts'
import { RawClient } from '../support/raw-client.ts'
import { until } from '../support/wait.ts'

export const outlineOf = (update: Uint8Array) =>
  yjsEngine.validate(update, { updateBytesMax: Number.MAX_SAFE_INTEGER })

const keyOf = (update: Uint8Array): string => Buffer.from(update).toString('base64')

export function coverageOf(updates: readonly Uint8Array[]): YjsCoverage {
  const coverage = yjsEngine.coverageOf(null)
  for (const update of updates) coverage.add(outlineOf(update))
  return coverage
}

/** A document as seen from outside the relay. */
export class Observed {
  readonly id: string
  /** What devices have emitted, in order, sent or not. */
  readonly produced: Uint8Array[] = []
  readonly promised: Uint8Array[] = []
  readonly promisedCoverage = yjsEngine.coverageOf(null)
  /** What each connection got after the answer to its version, in order. */
  readonly sequences: Uint8Array[][] = []
  /**
   * How often each update went out. One that a handshake carries too counts twice where that is a race with
   * its own sending, so that both may be stored: nobody needs to win it.
   */
  readonly timesSent = new Map<string, number>()

  constructor(id: string) {
    this.id = id
  }

  countSent(update: Uint8Array): void {
    const key = keyOf(update)
    this.timesSent.set(key, (this.timesSent.get(key) ?? 0) + 1)
  }

  /** The sequences, of the updates that were sent once and so have one place in the order. */
  ordered(): string[][] {
    const sequences = this.sequences.map((sequence) => sequence.map(keyOf))
    const repeated = new Set(sequences.flatMap((keys) => keys.filter((key, i) => keys.indexOf(key) !== i)))
    const placed = (key: string): boolean => this.timesSent.get(key) === 1 && !repeated.has(key)
    return sequences.map((keys) => keys.filter(placed))
  }

  /** Resolves with a synced client, or with null when the relay would not have it. */
  async connect(url: string, doc: Y.Doc): Promise<RawClient | null> {
    const sequence: Uint8Array[] = []
    let answered = false
    const onUpdate = (update: Uint8Array): void => {
      this.promised.push(update)
      this.promisedCoverage.add(outlineOf(update))
      if (answered) sequence.push(update)
      answered = true
    }
    const connecting = RawClient.connect(`${url}/${this.id}?echo=true`, { doc, onUpdate })
    const client = await connecting.catch(() => null)
    if (client === null) return null
    this.sequences.push(sequence)
    await until('an answer or a close', () => client.synced || client.closeCode !== null)
    return client.synced ? client : null
  }
}

export class Device {
  readonly doc = new Y.Doc()
  readonly observed: Observed
  readonly produced: Uint8Array[] = []
  private held: Uint8Array[] = []
  /** What was sent on this connection, but for what its handshake had said already: that has no echo. */
  private sent: Uint8Array[] = []
  private producedBefore = 0
  private client: RawClient | null = null

  constructor(observed: Observed, clientID: number) {
    this.observed = observed
    this.doc.clientID = clientID
    // Roots as clients have them: without a kind, Yjs cannot edit them.
    this.doc.getText('text')
    this.doc.getMap('map')
    this.doc.getArray('array')
    this.doc.getXmlFragment('xml')
    this.doc.on('update', (update: Uint8Array, origin: unknown) => {
      // What Yjs tidies up by itself after a remote change goes out with the next handshake.
      if (origin !== 'edit') return
      this.produced.push(update)
      observed.produced.push(update)
      this.held.push(update)
    })
  }

  get connected(): boolean {
    return this.client !== null && this.client.closeCode === null
  }

  edit(kind: number, place: number, choice: number): void {
    this.doc.transact(() => edit(this.doc, kind, place, choice), 'edit')
  }

  /** Without a connection, what is held back goes out with the next handshake. */
  sendHeld(reversed = false): void {
    if (!this.connected) return
    const updates = reversed ? this.held.reverse() : this.held
    this.held = []
    for (const update of updates) this.send(update)
  }

  /** One update of this device, sent before or not: duplicates, and later ones before earlier ones. */
  sendAny(choice: number): void {
    const update = this.produced[choice % this.produced.length]
    if (!this.connected || update === undefined) return
    this.held = this.held.filter((each) => each !== update)
    this.send(update)
  }

  private send(update: Uint8Array): void {
    this.observed.countSent(update)
    if (this.produced.indexOf(update) >= this.producedBefore) this.sent.push(update)
    else this.observed.countSent(update)
    this.client?.sendUpdate(update)
  }

  async connect(url: string): Promise<boolean> {
    this.disconnect()
    this.producedBefore = this.produced.length
    this.client = await this.observed.connect(url, this.doc)
    return this.connected
  }

  disconnect(): void {
    this.client?.close()
    this.client = null
    for (const update of this.sent) if (!this.isAcknowledged(update)) this.observed.countSent(update)
    this.sent = []
  }

  /** All that was sent on this connection has come back from the relay, or the connection is gone. */
  async acknowledged(): Promise<void> {
    const all = () => this.sent.every((update) => this.isAcknowledged(update))
    await until('what was sent comes back', () => !this.connected || all())
  }

  /** Without a new handshake: all that anybody has been sent by now has come here, or the connection is gone. */
  async caughtUp(): Promise<void> {
    await this.acknowledged()
    const promised = this.observed.promised.map(outlineOf)
    const has = () => {
      const coverage = coverageOf([Y.encodeStateAsUpdate(this.doc)])
      return promised.every((outline) => coverage.covers(outline))
    }
    await until('a connected device has what others got', () => !this.connected || has())
  }

  private isAcknowledged(update: Uint8Array): boolean {
    return this.observed.promisedCoverage.covers(outlineOf(update))
  }
}
