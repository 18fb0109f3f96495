/**
 * A Hocuspocus provider's count against what is durable, whatever the order of edits, outages, messages and writes: at 0
 * everything is durable, it is never below, and when all is quiet it is 0.
 *
 * The provider is a model of what the published ones do: 1 with each step 1, one more with each edit, one less with each status;
 * what it could not send is sent when it first hears something. Statuses that cross a step 1 on the wire are its own
 * flaw, which no server can mend, so it forces a step 1 only when nothing is on its way.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as Y from 'yjs'
import { yjsEngine } from '../../../core/engine/yjs/yjs-engine.ts'
import { SyncStatuses } from '../../../server/gateway/sync-statuses.ts'

type Up =
  | { readonly kind: 'step-1'; readonly version: Uint8Array }
  | { readonly kind: 'step-2' | 'update'; readonly update: Uint8Array; readonly edits: readonly number[] }
type Down = 'hello' | 'step-1' | 'status'

/** How often, of all. */
const steps = { insert: 3, delete: 3, up: 7, down: 7, write: 4, connect: 4, drop: 1, force: 1 } as const
type Step = keyof typeof steps
const step = fc.oneof(
  ...(Object.keys(steps) as Step[]).map((name) => ({ weight: steps[name], arbitrary: fc.constant(name) })),
)

class Model {
  count = 0
  /** Deletions that a provider made while its step 2 was on its way: these the server errs for, towards "unsaved". */
  unclear = 0
  private readonly doc = new Y.Doc()
  private made = 0
  private readonly durable = new Set<number>()
  private connected = false
  private heard = false
  private unsent: Up[] = []
  private up: Up[] = []
  private down: Down[] = []
  private log: { readonly edits: readonly number[]; readonly of: SyncStatuses }[] = []
  private statuses = new SyncStatuses(yjsEngine)
  private step2Sent = false

  constructor() {
    this.doc.on('update', (update: Uint8Array) => {
      const edit: Up = { kind: 'update', update, edits: [this.made++] }
      this.count++
      if (this.connected) this.up.push(edit)
      else this.unsent.push(edit)
    })
  }

  get saved(): boolean {
    return this.durable.size === this.made
  }

  take(step: Step): void {
    const text = this.doc.getText('t')
    switch (step) {
      case 'insert':
        text.insert(0, 'x')
        return
      case 'delete':
        if (text.length === 0) return
        if (this.connected && !this.step2Sent) this.unclear++
        text.delete(0, 1)
        return
      case 'up':
        return this.serve(this.up.shift())
      case 'down':
        return this.hear(this.down.shift())
      case 'write':
        return this.write()
      case 'connect':
        return this.connect()
      case 'drop':
        return this.drop()
      case 'force':
        if (!this.connected || this.quiet) this.sendStep1()
    }
  }

  settle(): void {
    this.connect()
    while (!this.quiet) {
      this.serve(this.up.shift())
      this.write()
      this.hear(this.down.shift())
    }
  }

  private get quiet(): boolean {
    return this.up.length + this.down.length + this.log.length === 0
  }

  private connect(): void {
    if (this.connected) return
    this.connected = true
    this.heard = false
    this.step2Sent = false
    this.unclear = 0
    this.statuses = new SyncStatuses(yjsEngine)
    this.down.push('hello')
    this.sendStep1()
  }

  private drop(): void {
    this.connected = false
    this.up = []
    this.down = []
  }

  private sendStep1(): void {
    this.count = 1
    const step1: Up = { kind: 'step-1', version: Y.encodeStateVector(this.doc) }
    if (this.connected) this.up.push(step1)
    else this.unsent.push(step1)
  }

  private hear(message: Down | undefined): void {
    if (message === undefined) return
    if (!this.heard) this.up.push(...this.unsent.splice(0))
    this.heard = true
    if (message === 'status') this.count--
    if (message !== 'step-1') return
    this.step2Sent = true
    const edits = Array.from({ length: this.made }, (_, edit) => edit)
    this.up.push({ kind: 'step-2', update: Y.encodeStateAsUpdate(this.doc), edits })
  }

  private serve(frame: Up | undefined): void {
    if (frame === undefined) return
    const { statuses } = this
    if (frame.kind === 'step-1') {
      if (statuses.restarted(frame.version)) this.down.push('step-1')
      return
    }
    const durable = frame.edits.every((edit) => this.durable.has(edit))
    if (frame.kind === 'step-2') statuses.wholeTaken(durable)
    else statuses.updateTaken(statuses.weightOf(frame.update), durable)
    if (!durable) this.log.push({ edits: frame.edits, of: statuses })
    this.tell()
  }

  private write(): void {
    const entry = this.log.shift()
    if (entry === undefined) return
    for (const edit of entry.edits) this.durable.add(edit)
    entry.of.settled()
    this.tell()
  }

  /** A connection that is gone hears nothing more, whatever is written later. */
  private tell(): void {
    if (!this.connected) return
    for (let left = this.statuses.take(); left > 0; left--) this.down.push('status')
  }
}

test('what a provider takes for saved is durable, and what is durable is taken for saved', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (taken) => {
      const model = new Model()
      for (const step of taken) {
        model.take(step)
        expect(model.count).toBeGreaterThanOrEqual(0)
        if (model.count === 0) expect(model.saved).toBe(true)
      }
      model.settle()
      expect(model.saved).toBe(true)
      expect(model.count).toBeLessThanOrEqual(model.unclear)
      expect(model.count).toBeGreaterThanOrEqual(0)
    }),
    { numRuns: 1_500 },
  )
})

test('what was refused is told once all of it was taken at last', () => {
  const statuses = new SyncStatuses(yjsEngine)
  const doc = new Y.Doc()
  doc.getText('t').insert(0, 'x')
  const update = Y.encodeStateAsUpdate(doc)
  statuses.restarted(Uint8Array.of(0))
  statuses.wholeTaken(true)
  expect(statuses.take()).toBe(1)
  for (let i = 0; i < 3; i++) statuses.updateRefused(statuses.weightOf(update))
  expect(statuses.askAnew()).toBe(true)
  statuses.wholeTaken(false)
  expect(statuses.owing).toBe(false)
  statuses.settled()
  expect(statuses.take()).toBe(3)
  expect(statuses.askAnew()).toBe(false)
})

test('what was on its way when the provider began to count anew is told with its step 2', () => {
  const statuses = new SyncStatuses(yjsEngine)
  statuses.restarted(Uint8Array.of(0))
  statuses.wholeTaken(true)
  statuses.updateTaken(1, true)
  statuses.updateTaken(1, false)
  statuses.updateTaken(1, false)
  statuses.settled()
  statuses.restarted(Uint8Array.of(0))
  statuses.settled()
  statuses.wholeTaken(false)
  expect(statuses.take()).toBe(0)
  statuses.settled()
  expect(statuses.take()).toBe(1)
})

test('many that are on their way are told of in their order, none twice', () => {
  const statuses = new SyncStatuses(yjsEngine)
  statuses.restarted(Uint8Array.of(0))
  statuses.wholeTaken(true)
  statuses.take()
  // Never all of them, so that the row is never empty.
  let taken = 0
  let settled = 0
  for (let round = 0; round < 50; round++) {
    for (let i = 0; i < 100; i++) statuses.updateTaken(taken++ % 3 === 0 ? 1 : 0, false)
    for (let i = 0; i < 99; i++) {
      statuses.settled()
      expect(statuses.take()).toBe(settled++ % 3 === 0 ? 1 : 0)
    }
  }
  for (let left = taken - settled + 5; left > 0; left--) statuses.settled()
  expect(statuses.take()).toBe(17)
})
