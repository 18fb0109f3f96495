/** Nobody takes what is not there: not offline, not at the same time, not with a device that was given up for lost, not by cheating. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isRefusal } from '../../../../core/domain/facts/draft.ts'
import type { FactKey } from '../../../../core/domain/facts/fact.ts'
import { DocumentFold, type FactEntry } from '../../../../core/domain/fold/document-fold.ts'
import { amountMax, type QuantitySeen, quantity, rightsOf } from '../../../../core/domain/kinds/quantity.ts'
import type { Write } from '../../../support/fact-history.ts'
import { JudgedWriter } from '../../../support/judged-writer.ts'

const stock = quantity()
const tank = quantity({ max: 100 })
const fields = { fields: { stock, tank } }
const { mutators } = stock

const seen = (fold: DocumentFold, field = 'stock') => fold.read('', field) as QuantitySeen

class Writer extends JudgedWriter {
  constructor(actor: string, ...known: readonly FactEntry[]) {
    super(fields, actor, ...known)
  }

  take(amount: number): FactKey {
    return this.write(mutators.take(this.at('stock'), amount))
  }

  raw(type: string, payload: Write['payload']): FactKey {
    return this.write({ entity: '', type, payload })
  }
}

/** 100 of which each has some. */
function divided(...shares: readonly [actor: string, amount: number][]): FactEntry[] {
  const manager = new Writer('manage')
  for (const [actor] of shares) manager.learn(new Writer(actor).entries)
  for (const [actor, amount] of shares)
    manager.settle(manager.write(mutators.supply(manager.at('stock'), amount, actor)))
  return manager.entries
}

const shares = [
  ['alice0', 40],
  ['bob000', 30],
  ['carol0', 30],
] as const

describe('100 t with rights of 40, 30 and 30', () => {
  const start = divided(...shares.map(([actor, amount]) => [actor, amount] as [string, number]))

  test('who lacks rights is refused, and told what is left', () => {
    const bob = new Writer('bob000', ...start)
    bob.take(25)
    expect(mutators.take(bob.at('stock'), 6)).toEqual({
      reason: 'insufficient_rights',
      detail: { left: 5, free: 0 },
    })
    const beyond = bob.raw('stock.take', { amount: 6 })
    expect(bob.outcome(beyond)).toEqual({
      status: 'rejected',
      reason: 'insufficient_rights',
      detail: { left: 5, free: 0 },
    })
    expect(rightsOf(seen(bob.fold), 'bob000')).toBe(5)
    expect(seen(bob.fold).value).toBe(75)
  })

  test('what is sold is never more than 100 anywhere at any step, whoever meets whom', () => {
    const step = fc.record({
      who: fc.nat({ max: 2 }),
      whom: fc.nat({ max: 2 }),
      amount: fc.integer({ min: 1, max: 15 }),
      meets: fc.boolean(),
      cheats: fc.boolean(),
    })
    const reached = { all: 0, refused: 0 }
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80, size: 'max' }), (history) => {
        const sellers = shares.map(([actor]) => new Writer(actor, ...start))
        const sold: FactKey[] = []
        for (const { who, whom, amount, meets, cheats } of history) {
          const seller = sellers[who]!
          if (meets) seller.learn(sellers[whom]!.entries)
          else {
            const draft = mutators.take(seller.at('stock'), amount)
            if (!isRefusal(draft)) sold.push(seller.write(draft))
            else if (cheats) seller.raw('stock.take', { amount })
            else reached.refused++
          }
          expect(soldAt(seller.fold)).toBeLessThanOrEqual(100)
          expect(seen(seller.fold).value).toBe(100 - soldAt(seller.fold))
        }
        const all = new Writer('zzzzzz', ...sellers.flatMap(({ entries }) => entries))
        expect(sold.map((key) => all.outcome(key).status)).toEqual(sold.map(() => 'effective'))
        expect(soldAt(all.fold)).toBeLessThanOrEqual(100)
        if (soldAt(all.fold) > 70) reached.all++
      }),
      { numRuns: 60 },
    )
    expect(Math.min(...Object.values(reached))).toBeGreaterThan(0)
  })
})

const soldAt = (fold: DocumentFold): number =>
  fold
    .facts('')
    .filter(({ type, outcome }) => type === 'stock.take' && outcome.status === 'effective')
    .reduce((sum, { payload }) => sum + (payload as { amount: number }).amount, 0)

describe('giving', () => {
  test('one cannot take what one gave, and the other can once it is decided', () => {
    const a = new Writer('alice0', ...divided(['alice0', 40], ['bob000', 1]))
    const gift = a.write(mutators.give(a.at('stock'), 30, 'bob000'))
    expect(seen(a.fold)).toMatchObject({ moving: 30, rights: { alice0: 10, bob000: 1 } })
    const b = new Writer('bob000', ...a.entries)
    expect(mutators.take(b.at('stock'), 31)).toMatchObject({ reason: 'insufficient_rights' })
    b.settle(gift)
    b.take(31)
    expect(seen(b.fold)).toMatchObject({ value: 10, moving: 0, rights: { alice0: 10 } })
  })

  test('twice: the second is rejected', () => {
    const a = new Writer('alice0', ...divided(['alice0', 40], ['bob000', 1]))
    a.raw('stock.give', { amount: 40, to: 'bob000' })
    const second = a.raw('stock.give', { amount: 40, to: 'bob000' })
    expect(a.outcome(second)).toMatchObject({ status: 'rejected', reason: 'insufficient_rights' })
    a.settle(second, { accepted: true })
    expect(seen(a.fold)).toMatchObject({ moving: 40, rights: { bob000: 1 } })
    expect(a.fold.reports()).toHaveLength(1)
  })

  test('to nobody: it comes back if that is not accepted, and is granted if it is', () => {
    const a = new Writer('alice0', ...divided(['alice0', 40]))
    const gift = a.write(mutators.give(a.at('stock'), 30, null))
    a.settle(gift, { accepted: false, reason: 'because' })
    expect(seen(a.fold)).toMatchObject({ free: 0, moving: 0, rights: { alice0: 40 } })
    a.settle(a.write(mutators.give(a.at('stock'), 30, null)))
    expect(mutators.grant(a.at('stock'), 31, 'alice0')).toEqual({
      reason: 'insufficient_rights',
      detail: { free: 30 },
    })
    a.settle(a.write(mutators.grant(a.at('stock'), 20, 'alice0')))
    expect(seen(a.fold)).toMatchObject({ value: 40, free: 10, rights: { alice0: 30 } })
    const late = a.raw('stock.grant', { amount: 11, to: 'alice0' })
    expect(a.judge(late)).toEqual({
      accepted: false,
      reason: 'insufficient_rights',
    })
    a.settle(late, { accepted: true })
    expect(a.outcome(late)).toMatchObject({ status: 'rejected', reason: 'insufficient_rights' })
  })
})

describe('a lost device', () => {
  function lost() {
    const start = divided(['alice0', 40], ['bob000', 1])
    const alice = new Writer('alice0', ...start)
    const known = alice.take(5)
    const server = new Writer('server', ...alice.entries)
    const unknown = alice.take(10)
    const call = server.settle(server.write(mutators.callIn(server.at('stock'), 'alice0')))
    return { alice, server, known, unknown, call }
  }

  test('gives back what was left as far as the server knew', () => {
    const { server, known } = lost()
    expect(server.outcome(known).status).toBe('effective')
    expect(seen(server.fold)).toMatchObject({
      value: 36,
      free: 35,
      rights: { bob000: 1 },
      epochs: { alice0: 1 },
    })
  })

  test('what it took without knowing is an intent, which is accepted while something is free', () => {
    const { alice, server, unknown } = lost()
    alice.learn(server.entries)
    server.learn(alice.entries)
    for (const { fold } of [alice, server]) expect(fold.fact(unknown)!.outcome).toEqual({ status: 'pending' })
    expect(soldAt(server.fold)).toBe(5)
    server.fold.takeChanges()
    expect(server.fold.undecided().map(({ key }) => key)).toEqual([unknown])
    server.settle(unknown)
    expect(seen(server.fold)).toMatchObject({ value: 26, free: 25 })
    expect(soldAt(server.fold)).toBe(15)
  })

  test('and rejected when all is given to others, with what is left', () => {
    const { alice, server, unknown } = lost()
    server.settle(server.write(mutators.grant(server.at('stock'), 30, 'bob000')))
    server.learn(alice.entries)
    expect(server.judge(unknown)).toEqual({ accepted: false, reason: 'insufficient_rights' })
    // Nor does it count where that was not asked.
    server.settle(unknown, { accepted: true })
    expect(server.outcome(unknown)).toMatchObject({
      status: 'rejected',
      reason: 'insufficient_rights',
      detail: { left: 0, free: 5 },
    })
  })

  test('goes on under its new epoch with what it is granted', () => {
    const { alice, server } = lost()
    server.settle(server.write(mutators.grant(server.at('stock'), 12, 'alice0')))
    alice.learn(server.entries)
    const take = alice.take(12)
    expect(alice.fold.fact(take)!.payload).toEqual({ amount: 12, epoch: 1 })
    expect(alice.outcome(take)).toEqual({ status: 'effective' })
    expect(mutators.take(alice.at('stock'), 1)).toMatchObject({ reason: 'insufficient_rights' })
  })

  test("what it put is there, and nobody's; what it gave is not given", () => {
    const { alice, server, call } = lost()
    const put = alice.write(mutators.put(alice.at('stock'), 7))
    const gift = alice.write(mutators.give(alice.at('stock'), 20, 'bob000'))
    const pending = alice.outcome(gift)
    server.learn(alice.entries)
    expect(pending).toEqual({ status: 'pending' })
    expect(server.outcome(put)).toEqual({ status: 'effective' })
    expect(server.outcome(gift)).toEqual({ status: 'rejected', reason: 'called_in' })
    expect(seen(server.fold)).toMatchObject({ value: 43, free: 42, moving: 0 })
    expect(server.outcome(call.slice(1))).toEqual({
      status: 'effective',
      by: call,
    })
  })

  test("what it had given before, and is not accepted after, is nobody's", () => {
    const start = divided(['alice0', 40], ['bob000', 1])
    const server = new Writer('alice0', ...start)
    const gift = server.write(mutators.give(server.at('stock'), 30, 'bob000'))
    server.settle(server.write(mutators.callIn(server.at('stock'), 'alice0', 'bob000')))
    expect(seen(server.fold)).toMatchObject({ value: 41, free: 0, moving: 30, rights: { bob000: 11 } })
    server.settle(gift, { accepted: false, reason: 'because' })
    expect(seen(server.fold)).toMatchObject({ value: 41, free: 30, moving: 0, rights: { bob000: 11 } })
  })

  test('is called in once, by the first who says so', () => {
    const { alice, server } = lost()
    const again = server.raw('stock.callIn', { actor: 'alice0', to: 'bob000' })
    expect(server.judge(again)).toEqual({
      accepted: false,
      reason: 'stale',
    })
    server.settle(again, { accepted: true, data: { stock: 40 }, seen: {} })
    expect(server.outcome(again)).toMatchObject({ status: 'rejected', reason: 'stale' })
    expect(seen(server.fold)).toMatchObject({ free: 35, epochs: { alice0: 1 } })
    server.settle(server.write(mutators.grant(server.at('stock'), 12, 'alice0')))
    alice.learn(server.entries)
    expect(alice.outcome(alice.take(12))).toEqual({ status: 'effective' })
  })

  test('moves no more than was left, at a replica that lacks its last facts too', () => {
    const alice = new Writer('alice0', ...divided(['alice0', 40], ['bob000', 1]))
    const server = new Writer('server', ...alice.entries)
    const last = alice.take(30)
    server.learn(alice.entries)
    const intent = server.write(mutators.callIn(server.at('stock'), 'alice0', 'bob000'))
    const call = server.settle(intent)
    // As if more heads had been seen than a fact has room for.
    const without = (entry: FactEntry): FactEntry => {
      const [entity, type, payload] = entry.value as [string, string, object]
      return { ...entry, value: [entity, type, payload as never, 'manage:1'] }
    }
    const fold = new DocumentFold(fields)
    const entries = server.entries.filter(({ key }) => key !== last)
    fold.apply(entries.map((entry) => ([intent, call].includes(entry.key) ? without(entry) : entry)))
    expect(seen(fold).rights).toEqual({ bob000: 11 })
  })
})

describe('with room for 100', () => {
  test('one puts only where one has room, and what is taken makes room', () => {
    const a = new Writer('alice0')
    expect(seen(a.fold, 'tank')).toMatchObject({ value: 0, free: 0, room: { free: 100, rights: {} } })
    expect(tank.mutators.put(a.at('tank'), 1)).toEqual({
      reason: 'insufficient_rights',
      detail: { left: 0, free: 100 },
    })
    expect(tank.mutators.supply(a.at('tank'), 101)).toEqual({
      reason: 'insufficient_room',
      detail: { free: 100 },
    })
    a.settle(a.write(tank.mutators.supply(a.at('tank'), 60, 'alice0')))
    a.settle(a.write(tank.mutators.grant(a.at('tank'), 10, 'alice0', 'room')))
    a.write(tank.mutators.put(a.at('tank'), 10))
    expect(tank.mutators.put(a.at('tank'), 1)).toMatchObject({ reason: 'insufficient_rights' })
    a.write(tank.mutators.take(a.at('tank'), 50))
    a.write(tank.mutators.put(a.at('tank'), 45))
    expect(seen(a.fold, 'tank')).toMatchObject({
      value: 65,
      rights: { alice0: 65 },
      room: { free: 30, rights: { alice0: 5 } },
    })
    const over = a.raw('tank.supply', { amount: 31 })
    expect(a.judge(over)).toEqual({
      accepted: false,
      reason: 'insufficient_room',
    })
    a.settle(over, { accepted: true })
    expect(a.outcome(over)).toMatchObject({ status: 'rejected', reason: 'insufficient_room' })
  })

  test("what a lost device put without knowing counts as far as there is room that is nobody's", () => {
    const a = new Writer('alice0')
    a.settle(a.write(tank.mutators.supply(a.at('tank'), 80, 'alice0')))
    a.write(tank.mutators.take(a.at('tank'), 30))
    const server = new Writer('server', ...a.entries)
    const puts = [
      a.write(tank.mutators.put(a.at('tank'), 20)),
      a.write(tank.mutators.put(a.at('tank'), 10)),
    ] as const
    server.settle(server.write(tank.mutators.callIn(server.at('tank'), 'alice0')))
    expect(seen(server.fold, 'tank')).toMatchObject({ value: 50, free: 50, room: { free: 50, rights: {} } })
    server.settle(server.write(tank.mutators.grant(server.at('tank'), 25, 'server', 'room')))
    server.meet(a)
    for (const key of puts) expect(server.outcome(key)).toEqual({ status: 'pending' })
    for (const key of puts) server.settle(key)
    expect(puts.map((key) => server.outcome(key).status)).toEqual(['effective', 'rejected'])
    expect(seen(server.fold, 'tank')).toMatchObject({ value: 70, free: 70, room: { free: 5 } })
  })
})

test('the judge asks for roles, and for actors that are there', () => {
  const guarded = quantity({ roles: { supply: ['manager'] } })
  const a = new JudgedWriter({ fields: { stock: guarded } }, 'alice0')
  const { supply, callIn } = guarded.mutators
  const manager = { subject: 'ann', roles: ['clerk', 'manager'] }
  expect(supply(a.at('stock'), 5, null, { subject: 'bob', roles: [] })).toMatchObject({
    reason: 'not_allowed',
  })
  const inNoRole = a.write(supply(a.at('stock'), 5))
  const asManager = a.write(supply(a.at('stock'), 5, null, manager))
  expect(a.judge(inNoRole)).toEqual({ accepted: false, reason: 'not_allowed' })
  expect(a.judge(asManager)).toEqual({ accepted: true })
  const stranger = a.write(callIn(a.at('stock'), 'zzzzzz'))
  expect(a.judge(stranger)).toEqual({
    accepted: false,
    reason: 'unknown_actor',
  })
})

test.each([
  ['nothing', 'take', { amount: 0 }],
  ['less than nothing', 'take', { amount: -5 }],
  ['a fraction', 'take', { amount: 0.5 }],
  ['too much', 'put', { amount: amountMax + 1 }],
  ['a text', 'take', { amount: '5' }],
  ['no amount', 'take', {}],
  ['more than that', 'take', { amount: 5, to: 'alice0' }],
  ['no actor', 'give', { amount: 5, to: 'Bob' }],
  ['an epoch of 0', 'take', { amount: 5, epoch: 0 }],
  ['a list', 'take', [5]],
])('%s is malformed', (_what, name, payload) => {
  const a = new Writer('alice0', ...divided(['alice0', 40]))
  expect(a.outcome(a.raw(`stock.${name}`, payload as never))).toEqual({
    status: 'rejected',
    reason: 'malformed_payload',
  })
})

test.each([
  ['an upper bound below the lower', { min: 5, max: 4 }],
  ['half a bound', { min: 0.5 }],
  ['bounds that no number is exact between', { min: -Number.MAX_SAFE_INTEGER, max: 5 }],
])('%s is refused', (_what, options) => {
  expect(() => quantity(options)).toThrow(RangeError)
})

test('it begins at 0, or at the bound that is nearest', () => {
  const at = (options: { min?: number; max?: number }) =>
    new DocumentFold({ fields: { x: quantity(options) } }).read('', 'x')
  expect(at({ min: -10 })).toMatchObject({ value: 0, free: 10 })
  expect(at({ min: 10, max: 30 })).toMatchObject({ value: 10, free: 0, room: { free: 20 } })
  expect(at({ min: -30, max: -10 })).toMatchObject({ value: -10, free: 20, room: { free: 0 } })
})
