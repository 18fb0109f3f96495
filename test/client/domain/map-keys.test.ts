/** Fields that are keys of a map: who else writes there is seen at once, and what Automerge keeps is a conflict until it is settled. */
import { expect, test } from 'vitest'
import { openDomain } from '../../../client/domain/domain.ts'
import type { FieldsOfDocument } from '../../../core/domain/fold/fields.ts'
import { multiValue } from '../../../core/domain/kinds/multi-value.ts'
import { register } from '../../../core/domain/kinds/register.ts'
import { type Device, devices } from './devices.ts'

const fields = {
  fields: {
    title: multiValue<string>({ from: { map: 'deal' } }),
    price: multiValue<number>({ from: { map: 'deal', key: 'amount' } }),
    note: register<string>(),
  },
  collections: { lines: { count: multiValue<number>({ from: { map: 'counts' } }) } },
} satisfies FieldsOfDocument

function scene(newDevice: () => Device) {
  const [annDevice, benDevice] = [newDevice(), newDevice()]
  const ann = openDomain(annDevice.handle, fields, { actor: 'ann000', subject: 'ann' })
  const ben = openDomain(benDevice.handle, fields, { actor: 'ben000', subject: 'ben' })
  return { ann, ben, annDevice, benDevice, meet: () => annDevice.meet(benDevice) }
}

test.each(Object.entries(devices))(
  'of an %s document are read, written and told like any field',
  async (_engine, newDevice) => {
    const { ann, ben, benDevice, meet } = scene(newDevice)
    const told: string[] = []
    ann.on('change', (entities) => told.push([...entities].join()))
    const { key, refusal } = ann.fields.price.do.set(1)
    expect(refusal).toBeNull()
    expect(await ann.settled(key!)).toEqual({ status: 'effective' })
    expect(told).toEqual([''])
    meet()
    benDevice.entries.assign('deal', 'amount', 2)
    benDevice.entries.assign('deal', 'somebody else’s', 2)
    ben.entity('lines', '7').count.do.set(5)
    meet()
    expect(told).toContain('lines/7')
    expect(ann.fields.price.value).toEqual({ value: 2, conflict: null })
    expect(ann.fields.price.expected).toEqual(ann.fields.price.value)
    expect(ann.ids('lines')).toEqual(['7'])
    expect(ann.entity('lines', '7').count.value).toEqual({ value: 5, conflict: null })
    expect(ann.facts()).toEqual([])
    expect(ann.conflicts()).toEqual([])
    ann.close()
    const before = told.length
    ben.fields.price.do.set(3)
    meet()
    expect(told).toHaveLength(before)
  },
)

test('of an Automerge document are in conflict when two assign at once, until one settles it', () => {
  const { ann, ben, meet } = scene(devices.automerge)
  ann.fields.price.do.set(1)
  ben.fields.price.do.set(2)
  ann.entity('lines', '7').count.do.set(3)
  ben.entity('lines', '7').count.do.set(4)
  let told = 0
  ann.on('change', () => told++)
  meet()
  // Whichever of them Automerge has chosen.
  expect(told).toBeGreaterThan(0)
  const [price, count] = ann.conflicts()
  expect(price).toMatchObject({ entity: '', field: 'price', since: null })
  expect(price!.sides.map(({ value }) => value).sort()).toEqual([1, 2])
  expect(ann.fields.price.value.value).toBe(price!.sides[0]!.value)
  expect(ben.conflicts()).toMatchObject([{ sides: price!.sides }, { entity: 'lines/7', field: 'count' }])
  expect(ben.fields.price.do.set(9)).toMatchObject({ refusal: { reason: 'conflict' } })
  expect(price!.settle({ side: 'nobody’s' })).toMatchObject({ refusal: { reason: 'no_side' } })
  expect(price!.settle({ value: 7 }).refusal).toBeNull()
  // It was settled, and is another one by now.
  expect(price!.settle({ value: 8 })).toMatchObject({ refusal: { reason: 'conflict_changed' } })
  expect(count!.settle({ side: count!.sides[1]!.key }).refusal).toBeNull()
  meet()
  for (const one of [ann, ben]) {
    expect(one.fields.price.value).toEqual({ value: 7, conflict: null })
    expect(one.entity('lines', '7').count.value.value).toBe(count!.sides[1]!.value)
    expect(one.conflicts()).toEqual([])
  }
})

test('of a Yjs document are never in conflict', () => {
  const { ann, ben, meet } = scene(devices.yjs)
  ann.fields.price.do.set(1)
  ben.fields.price.do.set(2)
  meet()
  expect(ann.conflicts()).toEqual([])
  expect(ann.fields.price.value).toEqual(ben.fields.price.value)
})

test('are those of the new document after a reset', () => {
  const { ann, annDevice } = scene(devices.automerge)
  ann.fields.price.do.set(1)
  annDevice.reset()
  expect(ann.fields.price.value.value).toBeNull()
  ann.fields.price.do.set(2)
  expect(ann.fields.price.value.value).toBe(2)
})
