/** An app's view of a document of facts: what it may do, offline too, what it may expect, and what comes of it. */
import { describe, expect, test } from 'vitest'
import { openDomain } from '../../../client/domain/domain.ts'
import { decided } from '../../../core/domain/facts/author.ts'
import { factsRoot } from '../../../core/domain/facts/fact.ts'
import { DocumentFold } from '../../../core/domain/fold/document-fold.ts'
import type { FieldsOfDocument } from '../../../core/domain/fold/fields.ts'
import { counter } from '../../../core/domain/kinds/counter.ts'
import { multiValue } from '../../../core/domain/kinds/multi-value.ts'
import { text, textRoot } from '../../../core/domain/kinds/text.ts'
import { workflow } from '../../../core/domain/kinds/workflow.ts'
import { type Device, devices } from './devices.ts'

const deals = {
  fields: {
    price: multiValue<number>(),
    notes: text(),
    state: workflow({
      states: ['open', 'sold', 'shipped', 'cancelled'],
      initial: 'open',
      transitions: {
        sell: { from: 'open', to: 'sold', consistency: 'free' },
        ship: { from: 'sold', to: 'shipped', consistency: 'decided', roles: ['seller'] },
        cancel: { from: ['open', 'sold'], to: 'cancelled', consistency: 'decided', roles: ['buyer'] },
      },
    }),
  },
  collections: { lines: { count: counter() } },
} satisfies FieldsOfDocument

/** As the arbiter has it. */
class Server {
  readonly device: Device
  private readonly fold = new DocumentFold(deals)

  constructor(device: Device) {
    this.device = device
    device.entries.follow(factsRoot, (entries) => this.fold.apply(entries))
  }

  decideAll(): void {
    for (const fact of this.fold.facts('')) {
      if (fact.isDecision || fact.outcome.status !== 'pending') continue
      const { actor, roles } = fact
      const decision = deals.fields.state.judge(this.fold, fact, {
        subject: this.fold.subjectOf(actor)!,
        roles,
      })
      this.device.entries.write(factsRoot, [decided(this.fold, fact, decision)])
    }
  }
}

describe.each(Object.entries(devices))('of an %s document:', (_engine, newDevice) => {
  function scene() {
    const server = new Server(newDevice())
    const [annHandle, benHandle] = [newDevice(), newDevice()]
    const ann = openDomain(annHandle.handle, deals, { actor: 'ann000', subject: 'ann', roles: ['seller'] })
    const ben = openDomain(benHandle.handle, deals, { actor: 'ben000', subject: 'ben', roles: ['buyer'] })
    const meet = (): void => {
      for (const device of [annHandle, benHandle, annHandle]) device.meet(server.device)
    }
    return { server, ann, ben, annHandle, benHandle, meet }
  }

  test('what one does is seen by the other, with what became of it', () => {
    const { ann, ben, meet } = scene()
    const { key } = ann.fields.price.do.set(4200)
    expect(ann.fields.price.value.value).toBe(4200)
    expect(ann.entity('lines', '7').count.do.add(5).refusal).toBeNull()
    meet()
    expect(ben.fields.price.value.value).toBe(4200)
    expect(ben.ids('lines')).toEqual(['7'])
    expect(ben.entity('lines', '7').count.value).toBe(5)
    expect(ben.outcome(key!)).toEqual({ status: 'effective' })
    expect(ben.subjectOf('ann000')).toBe('ann')
  })

  test('a value set on both sides is a conflict on both, until one settles it', () => {
    const { ann, ben, meet } = scene()
    ann.fields.price.do.set(1)
    ben.fields.price.do.set(2)
    meet()
    expect(ann.fields.price.value.conflict).toHaveLength(2)
    expect(ben.fields.price.do.set(3)).toMatchObject({ key: null, refusal: { reason: 'conflict' } })
    ben.fields.price.do.settle(3)
    meet()
    for (const one of [ann, ben]) expect(one.fields.price.value).toEqual({ value: 3, conflict: null })
  })

  test('ship and cancel from one version: each expects its own, one holds, the other learns why and what is possible', async () => {
    const { server, ann, ben, meet } = scene()
    ann.fields.state.do.move('sell')
    meet()
    const told: unknown[] = []
    ben.on('outcome', ({ outcome }) => told.push(outcome.status))
    const ship = ann.fields.state.do.move('ship')
    const cancel = ben.fields.state.do.move('cancel')
    expect(ann.fields.state.value.state).toBe('sold')
    expect(ann.fields.state.expected.state).toBe('shipped')
    expect(ben.fields.state.expected.state).toBe('cancelled')
    const settled = ben.settled(cancel.key!)

    for (const handle of [ann, ben]) expect(handle.intents()).toHaveLength(1)
    meet()
    server.decideAll()
    meet()
    for (const one of [ann, ben]) {
      const statuses = [ship, cancel].map(({ key }) => one.outcome(key!)!.status)
      expect([...statuses].sort()).toEqual(['effective', 'rejected'])
      expect(one.fields.state.expected.state).toBe(one.fields.state.value.state)
      expect(one.intents()).toEqual([])
    }
    expect(ann.fields.state.value.state).toBe(ben.fields.state.value.state)
    const outcome = await settled
    if (outcome.status === 'rejected') expect(outcome.detail).toMatchObject({ state: 'shipped', next: [] })
    expect(told).toEqual(['pending', outcome.status])
  })

  test('an intent says in which roles, anything else does not', () => {
    const { ann } = scene()
    ann.fields.state.do.move('sell')
    ann.fields.state.do.move('ship')
    expect(ann.facts().map(({ type, roles }) => [type, roles])).toEqual([
      ['state.sell', []],
      ['state.ship', ['seller']],
    ])
  })

  test('after a reload it goes on counting where it was', () => {
    const { ann, annHandle } = scene()
    ann.fields.price.do.set(1)
    const again = newDevice()
    again.meet(annHandle)
    const same = openDomain(again.handle, deals, { actor: 'ann000', subject: 'ann' })
    expect(same.fields.price.do.set(2).key).toBe('ann000:2')
    expect(same.fields.price.value.value).toBe(2)
  })

  test('a document that begins anew has none of the old facts', () => {
    const { ann, annHandle } = scene()
    ann.fields.price.do.set(1)
    annHandle.reset()
    expect(ann.fields.price.value.value).toBeNull()
    expect(ann.fields.price.do.set(2).key).toBe('ann000:1')
  })

  test('nothing is written before the document is loaded', () => {
    const handle = newDevice(false)
    const early = openDomain(handle.handle, deals, { actor: 'ann000', subject: 'ann' })
    expect(early.fields.price.do.set(1)).toEqual({ key: null, refusal: { reason: 'not_loaded', detail: {} } })
    expect(handle.isEmpty).toBe(true)
  })

  test('a text beside the facts is read as any field', () => {
    const { ann, annHandle } = scene()
    annHandle.type(textRoot('', 'notes'), 'hello')
    expect(ann.fields.notes.value).toBe('hello')
  })

  describe('what is expected', () => {
    test('leaves what holds alone', () => {
      const { ann, meet, ben } = scene()
      ann.fields.state.do.move('sell')
      ann.fields.state.do.move('ship')
      expect(ann.fields.state.expected.state).toBe('shipped')
      expect(ann.fields.state.value.state).toBe('sold')
      expect(ann.fields.state.value.pending).toHaveLength(1)
      meet()
      expect(ben.fields.state.expected.state).toBe('sold')
    })

    test('is not what the rules would refuse', () => {
      const { ben, ann, meet } = scene()
      ann.fields.state.do.move('sell')
      meet()
      ben.fields.state.do.move('ship')
      expect(ben.fields.state.expected.state).toBe('sold')
    })
  })

  describe('a conflict', () => {
    test('is listed with both sides, who and when, and settled with one of them', () => {
      const { ann, ben, meet } = scene()
      const beforeMs = Date.now()
      ann.fields.price.do.set(1)
      ben.fields.price.do.set(2)
      expect(ann.conflicts()).toEqual([])
      meet()
      const [conflict, ...others] = ann.conflicts()
      expect(others).toEqual([])
      expect(conflict).toMatchObject({
        entity: '',
        field: 'price',
        sides: [
          { value: 1, subject: 'ann', actor: 'ann000' },
          { value: 2, subject: 'ben', actor: 'ben000' },
        ],
      })
      for (const { at } of conflict!.sides) expect(at).toBeGreaterThanOrEqual(beforeMs)
      expect(conflict!.since).toBe(Math.max(...conflict!.sides.map(({ at }) => at!)))
      expect(conflict!.settle({ side: 'nobody:1' })).toMatchObject({ refusal: { reason: 'no_side' } })
      const { key } = conflict!.settle({ side: conflict!.sides[1]!.key })
      expect(ann.conflicts()).toEqual([])
      meet()
      expect(ben.conflicts()).toEqual([])
      expect(ben.fields.price.value).toEqual({ value: 2, conflict: null })
      // What was replaced stays, with what replaced it.
      expect(ben.facts().map(({ key, payload, outcome }) => [key, payload, outcome])).toEqual([
        ['ann000:1', { value: 1, time: expect.any(Number) }, { status: 'superseded', by: key }],
        ['ben000:1', { value: 2, time: expect.any(Number) }, { status: 'superseded', by: key }],
        [key, expect.objectContaining({ value: 2, replaces: ['ben000:1'] }), { status: 'effective' }],
      ])
    })

    test('is settled by two who do not know of each other: it is one anew', () => {
      const { ann, ben, meet } = scene()
      ann.fields.price.do.set(1)
      ben.fields.price.do.set(2)
      meet()
      ann.conflicts()[0]!.settle({ value: 3 })
      ben.conflicts()[0]!.settle({ value: 4 })
      meet()
      expect(
        ann
          .conflicts()[0]!
          .sides.map(({ value }) => value)
          .sort(),
      ).toEqual([3, 4])
      expect(ben.conflicts()).toMatchObject([{ sides: ann.conflicts()[0]!.sides }])
    })

    test('that has another side by now is not settled unseen', () => {
      const { ann, ben, meet } = scene()
      ann.fields.price.do.set(1)
      ben.fields.price.do.set(2)
      meet()
      const [seen] = ann.conflicts()
      ben.conflicts()[0]!.settle({ value: 4 })
      meet()
      expect(seen!.settle({ value: 5 })).toEqual({
        key: null,
        refusal: { reason: 'conflict_changed', detail: { value: 4, sides: [] } },
      })
      expect(ann.fields.price.value.value).toBe(4)
    })
  })
})
