/**
 * Devices and joiners that edit and read Yjs documents through the y-websocket door, with echo: what comes back is
 * durable. A handshake says what either side lacks.
 */
import { expect } from 'vitest'
import * as Y from 'yjs'
import type { YjsCoverage } from '../../core/engine/yjs/coverage.ts'
import { yjsEngine } from '../../core/engine/yjs/yjs-engine.ts'
import { edit, replicaOf } from '../core/engine/random-documents.ts'
import { contentOf } from '../core/engine/support.ts'
import { RawClient } from '../support/raw-client.ts'
import { TidemarkClient } from '../support/tidemark-client.ts'
import { until } from '../support/wait.ts'
import type { Content, Device, Foreign, Joiner, Observed } from './observed.ts'

const outlineOf = (update: Uint8Array) =>
  yjsEngine.validate(update, { updateBytesMax: Number.MAX_SAFE_INTEGER })

const keyOf = (update: Uint8Array): string => Buffer.from(update).toString('base64')

function coverageOf(updates: readonly Uint8Array[]): YjsCoverage {
  const coverage = yjsEngine.coverageOf(null)
  for (const update of updates) coverage.add(outlineOf(update))
  return coverage
}

export class YjsObserved implements Observed {
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

  newDevice(number: number): Device {
    return new YjsDevice(this, number)
  }

  async join(url: string): Promise<Joiner | null> {
    const client = await this.connect(url, new Y.Doc())
    return client === null ? null : new YjsJoiner(client)
  }

  expected(known: YjsJoiner): Content {
    return contentOf(replicaOf([...this.produced.filter((update) => known.has([update])), ...this.promised]))
  }

  wrongs(): unknown[] {
    const produced = coverageOf(this.produced)
    return this.promised.flatMap((update) => {
      const { structs } = outlineOf(update)
      return produced.missing({ structs, deletes: [] }).structs
    })
  }

  checkOrder(): number {
    let compared = 0
    const sequences = this.ordered()
    for (const [i, one] of sequences.entries()) {
      for (const other of sequences.slice(i + 1)) {
        const shared = overlap(one, other)
        expect(shared).toEqual(overlap(other, one))
        compared += shared.length
      }
    }
    return compared
  }

  async foreign(url: string): Promise<Foreign | null> {
    const client = await TidemarkClient.connect(url).catch(() => null)
    if (client === null || client.closeCode !== null) return null
    const replica = client.open(this.id, { engine: 'automerge', have: { version: Uint8Array.of(0) } })
    await replica.answered()
    client.close()
    if (replica.opened !== null) return 'joined'
    return replica.refused?.code === 'wrong_engine' ? 'wrong_engine' : null
  }

  /** The sequences, of the updates that were sent once and so have one place in the order. */
  private ordered(): string[][] {
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

const stateCoverageOf = (doc: Y.Doc): YjsCoverage => coverageOf([Y.encodeStateAsUpdate(doc)])

/** From the first to the last of what both have: all of it. */
function overlap(one: readonly string[], other: readonly string[]): readonly string[] {
  const both = new Set(other)
  const shared = (key: string): boolean => both.has(key)
  return one.slice(one.findIndex(shared), one.findLastIndex(shared) + 1)
}

class YjsJoiner implements Joiner {
  private readonly client: RawClient
  private coverage = coverageOf([])
  private covered = 0

  constructor(client: RawClient) {
    this.client = client
  }

  get connected(): boolean {
    return this.client.closeCode === null
  }

  /** As documents: snapshots also say the deletes that follow from the structs, which their updates leave unsaid. */
  has(updates: readonly Uint8Array[]): boolean {
    const { received } = this.client
    if (this.covered < received.length) this.coverage = stateCoverageOf(replicaOf(received))
    this.covered = received.length
    return updates.every((update) => this.coverage.covers(outlineOf(update)))
  }

  content(): Content {
    return contentOf(replicaOf(this.client.received))
  }

  json(): string {
    return contentOf(this.client.doc).json
  }

  close(): void {
    this.client.close()
  }
}

class YjsDevice implements Device {
  readonly observed: YjsObserved
  readonly produced: Uint8Array[] = []
  private readonly doc = new Y.Doc()
  private held: Uint8Array[] = []
  /** What was sent on this connection, but for what its handshake had said already: that has no echo. */
  private sent: Uint8Array[] = []
  private producedBefore = 0
  private client: RawClient | null = null

  constructor(observed: YjsObserved, clientID: number) {
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

  sendHeld(reversed = false): void {
    if (!this.connected) return
    const updates = reversed ? this.held.reverse() : this.held
    this.held = []
    for (const update of updates) this.send(update)
  }

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

  async acknowledged(): Promise<void> {
    const all = () => this.sent.every((update) => this.isAcknowledged(update))
    await until('what was sent comes back', () => !this.connected || all())
  }

  async caughtUp(): Promise<void> {
    await this.acknowledged()
    const promised = [...this.observed.promised]
    await until('a connected device has what others got', () => !this.connected || this.has(promised))
  }

  has(updates: readonly Uint8Array[]): boolean {
    const coverage = stateCoverageOf(this.doc)
    return updates.every((update) => coverage.covers(outlineOf(update)))
  }

  json(): string {
    return contentOf(this.doc).json
  }

  private isAcknowledged(update: Uint8Array): boolean {
    return this.observed.promisedCoverage.covers(outlineOf(update))
  }
}
