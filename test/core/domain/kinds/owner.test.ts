/** What was done by who does not hold it any more, or never did, is a proposal: not lost, and not counted before the holder says so. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isRefusal } from '../../../../core/domain/facts/draft.ts'
import type { FactKey } from '../../../../core/domain/facts/fact.ts'
import { DocumentFold, type FactEntry } from '../../../../core/domain/fold/document-fold.ts'
import type { At } from '../../../../core/domain/fold/kind.ts'
import { type OwnerSeen, owner } from '../../../../core/domain/kinds/owner.ts'
import { quantity } from '../../../../core/domain/kinds/quantity.ts'
import { register } from '../../../../core/domain/kinds/register.ts'
import { type WorkflowSeen, workflow } from '../../../../core/domain/kinds/workflow.ts'
import { type Behaviour, play, steps } from '../../../support/fact-history.ts'
import { holdsLaws } from '../../../support/fold-laws.ts'
import { JudgedWriter } from '../../../support/judged-writer.ts'

const holding = owner({ roles: ['manager'] })
const price = register<number>()
const stock = quantity()
const state = workflow({
  states: ['draft', 'open'],
  initial: 'draft',
  transitions: {
    publish: { from: 'draft', to: 'open', consistency: 'decided' },
    revise: { from: 'open', to: 'draft', consistency: 'free' },
  },
})
const fields = { fields: { owner: holding, price, stock, state } }
const { handOver, takeOver, decline } = holding.mutators

const seen = (fold: DocumentFold) => fold.read('', 'owner') as OwnerSeen
const proposal = (by?: FactKey) => ({ status: 'pending', reason: 'proposal', ...(by && { by }) })

class Writer extends JudgedWriter {
  constructor(actor: string, ...known: readonly FactEntry[]) {
    super(fields, actor, ...known)
  }

  get here(): At {
    return this.at('owner')
  }

  set(value: number, epoch?: number): FactKey {
    return this.writeRaw({
      entity: '',
      type: 'price.set',
      payload: value,
      ...(epoch !== undefined && { epoch }),
    })
  }

  handOver(to: Writer | null): FactKey {
    return this.write(handOver(this.here, to && `user of ${to.actor}`))
  }
}

/** Ann holds it; Bob is there too. */
function held() {
  const [ann, bob] = [new Writer('ann000'), new Writer('bob000')]
  const claim = ann.settle(ann.handOver(ann))
  bob.meet(ann)
  return { ann, bob, claim }
}

describe('a hand-over beside edits of the old holder', () => {
  function handedOver() {
    const { ann, bob } = held()
    const before = ann.set(100)
    const intent = ann.handOver(bob)
    const server = new Writer('server', ...ann.entries)
    const late = [ann.set(101), ann.set(102)] as const
    const decision = server.settle(intent)
    bob.meet(server)
    const fresh = bob.set(200)
    return { ann, bob, server, before, late, decision, fresh }
  }

  test('these come back as proposals, in whatever order all arrives; none is lost', () => {
    const { ann, bob, before, late, decision, fresh } = handedOver()
    expect(ann.fold.read('', 'price')).toBe(102)
    const all = new Writer('zzzzzz', ...ann.entries, ...bob.entries)
    fc.assert(
      fc.property(fc.shuffledSubarray(all.entries, { minLength: all.entries.length }), (entries) => {
        const fold = new DocumentFold(fields)
        for (const entry of entries) fold.apply([entry])
        expect(fold.read('', 'price')).toBe(200)
        expect(fold.fact(before)!.outcome).toEqual({ status: 'superseded', by: fresh })
        for (const key of late) expect(fold.fact(key)!.outcome).toEqual(proposal(decision))
        const common = { subject: 'user of ann000', type: 'price.set', epoch: 1 }
        expect(seen(fold)).toEqual({
          holder: 'user of bob000',
          epoch: 2,
          proposals: [
            { key: late[0], payload: 101, ...common },
            { key: late[1], payload: 102, ...common },
          ],
        })
      }),
      { numRuns: 100 },
    )
  })

  test('the holder takes over one as it was written, and declines another', () => {
    const { ann, bob, late, fresh } = handedOver()
    bob.meet(ann)
    const declined = bob.write(decline(bob.here, late[1]))
    const taken = bob.write(takeOver(bob.here, late[0]))
    ann.meet(bob)
    for (const { fold } of [ann, bob]) {
      expect(fold.read('', 'price')).toBe(101)
      expect(fold.fact(fresh)!.outcome).toEqual({ status: 'superseded', by: late[0] })
      expect(fold.fact(late[0])!.outcome).toEqual({ status: 'effective' })
      expect(fold.fact(late[1])!.outcome).toEqual({ status: 'rejected', reason: 'declined', by: declined })
      expect(fold.fact(taken)!.outcome).toEqual({ status: 'effective' })
      expect(seen(fold).proposals).toEqual([])
    }
    expect(takeOver(bob.here, late[0])).toMatchObject({ reason: 'no_proposal' })
    const again = bob.writeRaw({ entity: '', type: 'owner.takeOver', payload: { fact: late[1] } })
    expect(bob.outcome(again)).toMatchObject({ status: 'rejected', reason: 'no_proposal' })
  })

  test('nobody else can', () => {
    const { ann, bob, late } = handedOver()
    ann.meet(bob)
    const detail = { holder: 'user of bob000', epoch: 2, proposals: [...late] }
    expect(takeOver(ann.here, late[0])).toEqual({ reason: 'not_holder', detail })
    const cheat = ann.writeRaw({ entity: '', type: 'owner.takeOver', payload: { fact: late[0] } })
    expect(ann.outcome(cheat)).toEqual({ status: 'rejected', reason: 'not_holder', detail })
    expect(ann.fold.read('', 'price')).toBe(200)
  })

  test('proposals outlive the next hand-over', () => {
    const { ann, bob, server, late } = handedOver()
    server.meet(ann, bob)
    const carol = new Writer('carol0', ...server.entries)
    bob.meet(server)
    const intent = bob.handOver(carol)
    server.meet(bob)
    server.settle(intent)
    carol.meet(server)
    carol.write(takeOver(carol.here, late[0]))
    expect(carol.fold.read('', 'price')).toBe(101)
    expect(carol.fold.read('', 'owner')).toMatchObject({ epoch: 3, proposals: [{ key: late[1] }] })
  })
})

test('while nobody holds it, everybody may edit, and take it; what that had not seen is a proposal', () => {
  const [ann, bob] = [new Writer('ann000'), new Writer('bob000')]
  const before = bob.set(1)
  ann.meet(bob)
  const claim = ann.settle(ann.handOver(ann))
  const after = bob.set(2)
  bob.meet(ann)
  expect(bob.outcome(before)).toEqual({ status: 'effective' })
  expect(bob.outcome(after)).toEqual(proposal(claim))
  ann.settle(ann.handOver(null))
  bob.meet(ann)
  expect(bob.outcome(bob.set(3))).toEqual({ status: 'effective' })
  bob.write(takeOver(bob.here, after))
  expect(bob.fold.read('', 'price')).toBe(2)
})

describe('by who does not hold it', () => {
  test.each([
    ['under the actual epoch', 1],
    ['under one that is over', 0],
    ['under one that is not there', 7],
  ])('an edit %s is a proposal', (_what, epoch) => {
    const { bob, claim } = held()
    expect(bob.outcome(bob.set(5, epoch))).toEqual(proposal(claim))
  })

  test('an epoch that was guessed does not count once it is there', () => {
    const { ann, bob } = held()
    const guessed = bob.set(5, 2)
    ann.meet(bob)
    ann.settle(ann.handOver(bob))
    expect(ann.outcome(guessed)).toMatchObject({ reason: 'proposal' })
  })

  test('a hand-over is refused, unless in a role that may', () => {
    const { bob } = held()
    const detail = { holder: 'user of ann000', epoch: 1, proposals: [] }
    expect(handOver(bob.here, 'user of bob000')).toEqual({ reason: 'not_holder', detail })
    const intent = bob.writeRaw({ entity: '', type: 'owner.handOver', payload: { to: 'user of bob000' } })
    const decision = bob.settle(intent)
    expect(bob.outcome(intent)).toEqual({ status: 'rejected', reason: 'not_holder', by: decision, detail })
    const manager = { subject: 'user of bob000', roles: ['manager'] }
    bob.settle(bob.write(handOver(bob.here, 'user of bob000', manager)))
    expect(seen(bob.fold)).toMatchObject({ holder: 'user of bob000', epoch: 2 })
  })

  test('an intent is not decided before it was taken over', () => {
    const { ann, bob } = held()
    const publish = bob.write(state.mutators.move({ ...bob.here, field: 'state' }, 'publish'))
    ann.meet(bob)
    const early = ann.settle(publish, { accepted: true })
    expect(ann.fold.reports().map(({ key }) => key)).toEqual([early])
    expect((ann.fold.read('', 'state') as WorkflowSeen<string, string>).state).toBe('draft')
    bob.write(state.mutators.move({ ...bob.here, field: 'state' }, 'publish'))
    const second = seen(bob.fold).proposals[1]!.key
    ann.meet(bob)
    ann.write(takeOver(ann.here, second))
    expect(ann.outcome(second)).toEqual({ status: 'pending' })
    ann.settle(second)
    expect(ann.outcome(second)).toMatchObject({ status: 'effective' })
  })

  test('what it sold within its rights is sold', () => {
    const { ann, bob } = held()
    ann.meet(bob)
    ann.settle(ann.write(stock.mutators.supply({ ...ann.here, field: 'stock' }, 10, 'bob000')))
    bob.meet(ann)
    expect(bob.outcome(bob.write(stock.mutators.take({ ...bob.here, field: 'stock' }, 4)))).toEqual({
      status: 'effective',
    })
  })
})

test('of two hand-overs at the same time one is stale, whoever decides', () => {
  const { ann, bob } = held()
  const [first, second] = [ann.handOver(bob), ann.handOver(null)]
  ann.settle(first)
  expect(ann.judge(second)).toEqual({ accepted: false, reason: 'stale' })
  const late = ann.settle(second, { accepted: true, seen: {} })
  expect(ann.outcome(second)).toEqual({
    status: 'rejected',
    reason: 'stale',
    by: late,
    detail: { holder: 'user of bob000', epoch: 2, proposals: [] },
  })
  bob.meet(ann)
  expect(bob.outcome(bob.set(7))).toEqual({ status: 'effective' })
})

test('only the fields that are named belong to the holder', () => {
  const named = { fields: { owner: owner({ fields: ['price'] }), price, note: register<string>() } }
  const ann = new JudgedWriter(named, 'ann000')
  ann.settle(ann.write(handOver(ann.at('owner'), 'user of ann000')))
  const bob = new JudgedWriter(named, 'bob000', ...ann.entries)
  const note = bob.writeRaw({ entity: '', type: 'note.set', payload: 'mine' })
  const own = bob.writeRaw({ entity: '', type: 'price.set', payload: 1 })
  expect([note, own].map((key) => bob.outcome(key).status)).toEqual(['effective', 'pending'])
})

test.each([
  ['handOver', { to: '' }],
  ['handOver', {}],
  ['handOver', { to: 'ann', from: 'bob' }],
  ['takeOver', { fact: 'price' }],
  ['decline', { fact: '@ann000:1' }],
  ['decline', null],
])('%s of %j is malformed', (name, payload) => {
  const { ann } = held()
  const key = ann.writeRaw({ entity: '', type: `owner.${name}`, payload })
  expect(ann.outcome(key)).toEqual({ status: 'rejected', reason: 'malformed_payload' })
})

const behave: Behaviour = ({ fold, actor }, choice) => {
  const at = { fold, entity: '', field: 'owner', actor }
  const subject = `user of ${choice.of(['alice0', 'bob000', 'carol0'])}`
  const { proposals, epoch } = seen(fold)
  if (choice.below(8) === 0)
    return { entity: '', type: 'price.set', payload: choice.below(100), epoch: choice.below(epoch + 2) }
  const draft = choice.of([
    () => ({ entity: '', type: 'price.set', payload: choice.below(100) }),
    () => ({ entity: '', type: 'price.set', payload: choice.below(100) }),
    () => state.mutators.move({ ...at, field: 'state' }, choice.of(['publish', 'revise'])),
    () => handOver(at, choice.below(6) === 0 ? null : subject),
    () => takeOver(at, proposals[choice.below(proposals.length || 1)]?.key ?? 'nobody:1'),
    () => decline(at, proposals[choice.below(proposals.length || 1)]?.key ?? 'nobody:1'),
  ])()
  return isRefusal(draft) ? null : draft
}
const judge = (fold: DocumentFold, intent: Parameters<DocumentFold['judge']>[0]) => fold.judge(intent)!

describe('in random histories', () => {
  test('order, duplication and grouping do not matter', () => {
    holdsLaws({ fields, behave, judge, runs: 80, stepsMax: 80 })
  })

  test('what counts was written by who held it then, or was taken over; the rest is listed', () => {
    const counts: Record<string, number> = {}
    const count = (name: string): void => {
      counts[name] = (counts[name] ?? 0) + 1
    }
    const check = (fold: DocumentFold): void => {
      const facts = fold.facts('')
      const settled = new Set(
        facts
          .filter(({ type, outcome }) => type.startsWith('owner.') && outcome.status === 'effective')
          .map(({ payload }) => (payload as { fact?: FactKey }).fact),
      )
      const reigns = facts
        .filter(({ type, outcome }) => type === 'owner.handOver' && outcome.status === 'effective')
        .map((intent) => ({
          holder: (intent.payload as { to: string | null }).to,
          seen: (fold.fact(intent.outcome.by!)!.payload as { seen: Record<string, number> }).seen,
          epoch: intent.epoch + 1,
        }))
        .sort((a, b) => a.epoch - b.epoch)
      const listed: FactKey[] = []
      for (const { key, type, actor, seq, epoch, outcome } of facts) {
        const name = `${type} ${outcome.status} ${outcome.reason ?? ''}`
        count(name.trim())
        if (outcome.reason === 'proposal') listed.push(key)
        if (!/^(price|state)/.test(type)) continue
        // The reigns whose beginning had not seen it are those that it came before, or knew of.
        const actual = reigns.findIndex(({ seen }) => seq <= (seen[actor] ?? -1))
        const reign = actual === -1 ? reigns.length : actual
        const holder = reign === 0 ? null : reigns[reign - 1]!.holder
        const isHolders = epoch === reign && (holder === null || holder === fold.subjectOf(actor))
        expect(outcome.reason === 'proposal' || settled.has(key), `${key} ${name}`).toBe(!isHolders)
      }
      expect(seen(fold).proposals.map(({ key }) => key)).toEqual(listed)
      expect(seen(fold).epoch).toBe(reigns.length)
      expect(seen(fold).holder).toBe(reigns.at(-1)?.holder ?? null)
    }
    fc.assert(
      fc.property(steps(80), (history) => {
        play(history, { fields, behave, judge, check })
      }),
      { numRuns: 80, interruptAfterTimeLimit: 30_000, markInterruptAsFailure: true },
    )
    for (const name of [
      'price.set pending proposal',
      'state.publish pending proposal',
      'price.set effective',
      'price.set rejected declined',
      'owner.takeOver effective',
      'owner.takeOver rejected not_holder',
      'owner.handOver effective',
      'owner.handOver rejected stale',
    ])
      expect(counts[name] ?? 0, `${name} of ${JSON.stringify(counts)}`).toBeGreaterThan(0)
  })
})
