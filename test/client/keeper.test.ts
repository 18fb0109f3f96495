/** What is on disk at any moment, whatever fails: an edit in the document and the outbox or in neither, a position that is true. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Environment } from '../../client/environment.ts'
import { browserOrNode } from '../../client/environment.ts'
import { Keeper } from '../../client/keeper.ts'
import { createMemoryStorage } from '../../client/storage/memory.ts'
import type { DocumentStorage, OutboxEntry } from '../../client/storage/storage.ts'
import { runs } from '../core/engine/support.ts'
import { VirtualTime } from './virtual-time.ts'

/** An update is one byte: its number. The state is all of them. */
const numbered = (number: number): Uint8Array => Uint8Array.of(number)

class World {
  readonly time = new VirtualTime()
  readonly disk = createMemoryStorage()
  readonly keeper: Keeper
  failing = false
  compactions = 0
  readonly events: string[] = []
  readonly kept: number[] = []
  private readonly applied = new Set<number>()
  private outbox: OutboxEntry[] = []
  private edits = 0
  private offset = 0

  constructor() {
    const environment: Environment = {
      ...browserOrNode(undefined),
      now: () => this.time.nowMs,
      after: this.time.after,
    }
    this.keeper = new Keeper(environment, {
      position: () => ({ epoch: 1, offset: this.offset }),
      state: () => Uint8Array.from(this.applied),
      merge: (added) => {
        this.compactions++
        for (const update of added) for (const number of update) this.applied.add(number)
        return Uint8Array.from(this.applied)
      },
      outbox: () => this.outbox,
      onKept: (entries) => this.kept.push(...entries.map(({ sequence }) => sequence)),
      onFailed: (error) => this.events.push(error.message),
      onRecovered: () => this.events.push('recovered'),
    })
  }

  async open(): Promise<void> {
    const real = await this.disk.open('scope', 'document', () => undefined)
    const storage: DocumentStorage = {
      ...real,
      write: async (batch) => {
        // As a disk: later than it is asked for.
        await Promise.resolve()
        if (this.failing) throw new Error('full')
        await real.write(batch)
      },
    }
    this.keeper.opened(storage, 0)
  }

  /** Edits are numbered from 1, what the server sends from 100: its offset and 100. */
  edit(): void {
    const update = numbered(++this.edits)
    const entry = { replica: 'r', sequence: this.edits, edits: 1, update }
    this.applied.add(this.edits)
    this.outbox.push(entry)
    this.keeper.edit(entry)
  }

  receive(): void {
    const number = 100 + ++this.offset
    this.applied.add(number)
    this.keeper.received([numbered(number)])
  }

  ack(): void {
    const [first] = this.outbox
    if (first === undefined) return
    this.outbox.shift()
    this.keeper.replace('r', 0, first.sequence, [])
  }

  async settle(): Promise<void> {
    for (let i = 0; i < 8; i++) await Promise.resolve()
  }

  async check(): Promise<{ updates: Set<number>; sequences: number[] }> {
    const document = await this.disk.open('scope', 'document', () => undefined)
    const { updates, outbox, position } = await document.load()
    const numbers = new Set(updates.flatMap((update) => [...update]))
    const sequences = outbox.map(({ sequence }) => sequence)
    for (const sequence of sequences)
      expect(numbers, 'of the outbox, but not in the document').toContain(sequence)
    const dropped = [...numbers].filter((number) => number < 100 && !sequences.includes(number))
    for (const number of dropped)
      expect(
        this.outbox.map(({ sequence }) => sequence),
        'not acknowledged, but not in the outbox',
      ).not.toContain(number)
    for (let offset = 1; offset <= position.offset; offset++)
      expect(numbers, `of the position ${position.offset}`).toContain(100 + offset)
    return { updates: numbers, sequences }
  }

  get all(): { updates: Set<number>; sequences: number[] } {
    return { updates: this.applied, sequences: this.outbox.map(({ sequence }) => sequence) }
  }
}

test('at any moment, with any write failing, the disk is consistent; and complete once it is well again', async () => {
  const commands = fc.array(
    fc.constantFrom(
      'edit',
      'edit',
      'receive',
      'receive',
      'ack',
      'time',
      'settle',
      'fail',
      'heal',
      'retry',
      'open',
    ),
    { maxLength: 60 },
  )
  const property = fc.asyncProperty(commands, async (history) => {
    const world = new World()
    let open = false
    for (const command of history) {
      if (command === 'open' && !open) {
        open = true
        await world.open()
      }
      if (command === 'edit') world.edit()
      if (command === 'receive') world.receive()
      if (command === 'ack') world.ack()
      if (command === 'time') world.time.step()
      if (command === 'settle') await world.settle()
      if (command === 'fail' || command === 'heal') world.failing = command === 'fail'
      if (command === 'retry') world.keeper.retry()
      await world.check()
    }
    world.failing = false
    if (!open) await world.open()
    await world.settle()
    world.keeper.retry()
    await world.keeper.flush()
    await world.settle()
    expect(await world.check()).toEqual(world.all)
  })
  await fc.assert(property, runs(200))
})

test('edits are written at once and together, what others did a little later', async () => {
  const world = new World()
  await world.open()
  world.receive()
  world.time.step()
  const startMs = world.time.nowMs
  await world.keeper.flush()
  for (let i = 0; i < 3; i++) world.edit()
  expect(world.kept).toEqual([])
  world.time.step()
  expect(world.time.nowMs).toBe(startMs)
  await world.keeper.flush()
  expect(world.kept).toEqual([1, 2, 3])
})

test('what fails is told once, and tried again by itself', async () => {
  const world = new World()
  await world.open()
  world.failing = true
  world.edit()
  await world.keeper.flush()
  world.edit()
  expect(world.events).toEqual(['full'])
  expect(world.kept, 'other tabs are told all the same').toEqual([1, 2])
  world.failing = false
  while (world.time.step());
  await world.settle()
  expect(world.events).toEqual(['full', 'recovered'])
  expect(await world.check()).toEqual(world.all)
})

test('what was lost for good is not written again', async () => {
  const world = new World()
  await world.open()
  world.keeper.lost(new Error('deleted'))
  world.keeper.lost(new Error('deleted'))
  world.edit()
  world.keeper.retry()
  await world.keeper.flush()
  while (world.time.step());
  expect(world.events).toEqual(['deleted'])
  expect((await world.check()).updates.size).toBe(0)
})

test('a long document is merged now and then', async () => {
  const world = new World()
  await world.open()
  for (let i = 0; i < 520; i++) {
    if (i % 100 < 99) world.keeper.received([numbered(200)])
    else await world.keeper.flush()
  }
  await world.keeper.flush()
  expect(world.compactions).toBe(1)
})
