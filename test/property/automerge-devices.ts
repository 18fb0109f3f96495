/**
 * Devices and joiners that edit and read Automerge documents through Tidemark's own door. A device keeps what is not acknowledged
 * and pushes it again, with the same sequences, on its next connection, and nothing else of what it had sent before: what the
 * relay has acknowledged and lost stays lost. Every other connection asks by the place in the log, the others by the heads.
 */
import * as A from '@automerge/automerge'
import { automergeEngine } from '../../core/engine/automerge/automerge-engine.ts'
import { hex, unhex } from '../../core/engine/automerge/chunk.ts'
import { writeVersion } from '../../core/engine/automerge/version.ts'
import type { Offset } from '../../core/offset.ts'
import type { Opened, Problem, ServerMessage } from '../../core/protocol/tidemark-v1/messages.ts'
import {
  contentOf,
  edit,
  type Content as Note,
  replicaOf,
} from '../core/engine/automerge/random-documents.ts'
import { RawClient } from '../support/raw-client.ts'
import { TidemarkClient } from '../support/tidemark-client.ts'
import { until } from '../support/wait.ts'
import type { Content, Device, Foreign, Joiner, Observed } from './observed.ts'

const changesOf = (update: Uint8Array) =>
  automergeEngine.validate(update, { updateBytesMax: Number.MAX_SAFE_INTEGER })

const known = new WeakMap<Uint8Array, readonly string[]>()

/** Of all changes in it. */
function hashesOf(update: Uint8Array): readonly string[] {
  const before = known.get(update)
  if (before !== undefined) return before
  const { changes, documents } = changesOf(update)
  const saved = documents.flatMap(({ bytes }) => A.getAllChanges(A.load(bytes)).flatMap(hashesOf))
  const hashes = [...changes.map(({ hash }) => hex(hash)), ...saved]
  known.set(update, hashes)
  return hashes
}

export class AutomergeObserved implements Observed {
  readonly id: string
  readonly produced: Uint8Array[] = []
  readonly promised: Uint8Array[] = []
  /** What was refused for good, and places that came too early. */
  readonly problems: string[] = []
  /** The update at each offset, as the first one got it who did. */
  private readonly places = new Map<number, string>()
  private compared = 0

  constructor(id: string) {
    this.id = id
  }

  newDevice(number: number): Device {
    return new AutomergeDevice(this, number)
  }

  async join(url: string): Promise<Joiner | null> {
    const joiner = new AutomergeJoiner(this)
    return (await joiner.open(url, false)) === null ? null : joiner
  }

  expected(known: AutomergeJoiner): Content {
    return contentOf(replicaOf([...this.produced.filter((update) => known.has([update])), ...this.promised]))
  }

  wrongs(): unknown[] {
    const produced = new Set(this.produced.flatMap(hashesOf))
    return [...this.promised.flatMap(hashesOf).filter((hash) => !produced.has(hash)), ...this.problems]
  }

  /** More than the order: an offset is the same update for everybody. */
  checkOrder(): number {
    return this.compared
  }

  placed(offset: number, update: Uint8Array): void {
    const key = Buffer.from(update).toString('base64')
    const known = this.places.get(offset)
    if (known === undefined) this.places.set(offset, key)
    else if (known === key) this.compared++
    else this.problems.push(`two updates at ${offset}`)
  }

  async foreign(url: string): Promise<Foreign | null> {
    const client = await RawClient.connect(`${url}/${this.id}`).catch(() => null)
    if (client === null) return null
    await until('an answer or a close', () => client.synced || client.closeCode !== null)
    client.close()
    if (client.synced) return 'joined'
    return client.closeReason.startsWith('wrong_engine') ? 'wrong_engine' : null
  }
}

class AutomergeReplica {
  readonly observed: AutomergeObserved
  protected doc: A.Doc<Note>
  protected channel = 0
  protected client: TidemarkClient | null = null
  private readonly name: string
  private readonly hashes = new Set<string>()
  private place = 0 as Offset
  private epoch = 0 as Offset

  constructor(observed: AutomergeObserved, name: string, actor: string) {
    this.observed = observed
    this.name = name
    this.doc = A.init<Note>({ actor })
  }

  get connected(): boolean {
    return this.client !== null && this.client.closeCode === null
  }

  has(updates: readonly Uint8Array[]): boolean {
    return updates.every((update) => hashesOf(update).every((hash) => this.hashes.has(hash)))
  }

  json(): string {
    return contentOf(this.doc).json
  }

  /** Null when the relay would not have it. */
  async open(url: string, byPlace: boolean): Promise<Opened | null> {
    let answer: Opened | null = null
    const onMessage = (message: ServerMessage): void => {
      if (message.kind === 'opened') answer = message
      this.take(message)
    }
    const client = await TidemarkClient.connect(url, { onMessage }).catch(() => null)
    this.client = client
    if (client === null) return null
    const version = writeVersion(A.getHeads(this.doc).map(unhex))
    const { epoch, place } = this
    const have = { epoch, offset: byPlace ? place : (0 as Offset), version }
    const { id: document } = this.observed
    client.send({
      ...{ kind: 'open', request: 1, document, engine: 'automerge', token: '', replica: this.name, have },
    })
    await until('an answer or a close', () => answer !== null || client.closeCode !== null)
    return client.closeCode === null ? answer : null
  }

  close(): void {
    this.client?.close()
    this.client = null
  }

  protected knows(update: Uint8Array): void {
    for (const hash of hashesOf(update)) this.hashes.add(hash)
  }

  protected acknowledge(_sequence: number): void {}

  protected refuse(problem: Problem): void {
    this.lose(problem)
  }

  private take(message: ServerMessage): void {
    switch (message.kind) {
      case 'opened': {
        const { catchUp } = message
        this.channel = message.channel
        this.epoch = message.epoch
        if (catchUp.kind === 'entries') this.takeEntries(catchUp.offset, catchUp.updates)
        else if (catchUp.kind === 'update') this.apply(catchUp.update)
        this.move(message.offset)
        return this.acknowledge(message.acked)
      }
      case 'updates':
        return this.takeEntries(message.offset, message.updates)
      case 'caught-up':
        this.apply(message.update)
        return this.move(message.offset)
      case 'ack':
        this.move(message.offset)
        return this.acknowledge(message.sequence)
      case 'nack':
        return this.refuse(message.problem)
      case 'closed':
      case 'refused':
        return this.lose(message.problem)
    }
  }

  private takeEntries(offset: number, updates: readonly Uint8Array[]): void {
    if (offset > this.place + 1) this.observed.problems.push(`${offset} came after ${this.place}`)
    for (const [i, update] of updates.entries()) {
      this.observed.placed(offset + i, update)
      this.apply(update)
      this.move((offset + i) as Offset)
    }
  }

  private apply(update: Uint8Array): void {
    // No chunks: nothing is missing.
    if (update.length === 0) return
    this.observed.promised.push(update)
    this.knows(update)
    this.doc = A.loadIncremental(this.doc, update)
  }

  private move(offset: Offset): void {
    if (offset > this.place) this.place = offset
  }

  protected lose({ code, retryMs }: Problem): void {
    if (retryMs === null) this.observed.problems.push(code)
    this.client?.close()
  }
}

class AutomergeJoiner extends AutomergeReplica implements Joiner {
  constructor(observed: AutomergeObserved) {
    super(observed, 'joiner', 'ff')
  }

  content(): Content {
    return contentOf(this.doc)
  }
}

class AutomergeDevice extends AutomergeReplica implements Device {
  readonly produced: Uint8Array[] = []
  private held: Uint8Array[] = []
  /** In the order of their sequences, which end with this one. */
  private unacked: Uint8Array[] = []
  private sequence = 0
  private connections = 0

  constructor(observed: AutomergeObserved, number: number) {
    super(observed, `d${number}`, number.toString(16).padStart(8, '0'))
  }

  edit(kind: number, place: number, choice: number): void {
    const before = this.doc
    this.doc = A.change(before, { time: 0 }, (doc) => edit(doc, Math.floor(kind * 1.25), place, choice))
    const change = A.getLastLocalChange(this.doc)
    if (this.doc === before || change === undefined) return
    this.knows(change)
    this.produced.push(change)
    this.observed.produced.push(change)
    this.held.push(change)
  }

  sendHeld(reversed = false): void {
    if (!this.connected) return
    const updates = reversed ? this.held.reverse() : this.held
    this.held = []
    this.push(updates)
  }

  sendAny(choice: number): void {
    const update = this.produced[choice % this.produced.length]
    if (!this.connected || update === undefined) return
    this.held = this.held.filter((each) => each !== update)
    this.push([update])
  }

  async connect(url: string): Promise<boolean> {
    this.disconnect()
    const opened = await this.open(url, this.connections++ % 2 === 1)
    if (opened === null) return false
    this.sendFrom(this.sequence - this.unacked.length + 1, this.unacked)
    this.sendHeld()
    return true
  }

  disconnect(): void {
    this.close()
  }

  async acknowledged(): Promise<void> {
    await until('what was sent is acknowledged', () => !this.connected || this.unacked.length === 0)
  }

  async caughtUp(): Promise<void> {
    await this.acknowledged()
    const promised = [...this.observed.promised]
    await until('a connected device has what others got', () => !this.connected || this.has(promised))
  }

  protected override acknowledge(sequence: number): void {
    const count = sequence - (this.sequence - this.unacked.length)
    if (count > 0) this.observed.promised.push(...this.unacked.splice(0, count))
  }

  /** All that waits goes out again after the time given. */
  protected override refuse(problem: Problem): void {
    if (problem.retryMs === null) return this.lose(problem)
    const { client } = this
    const again = (): void => {
      if (this.client === client) this.sendFrom(this.sequence - this.unacked.length + 1, this.unacked)
    }
    setTimeout(again, problem.retryMs)
  }

  private push(updates: readonly Uint8Array[]): void {
    const first = this.sequence + 1
    this.unacked.push(...updates)
    this.sequence += updates.length
    this.sendFrom(first, updates)
  }

  private sendFrom(sequence: number, updates: readonly Uint8Array[]): void {
    if (updates.length > 0) this.client?.send({ kind: 'push', channel: this.channel, sequence, updates })
  }
}
