/**
 * What the arbiter promises, over real SQL: one decision for each intent, in the log exactly once, with the same bytes, however often
 * it dies and whoever takes over; and of what only one can have, one has it, whichever engine the documents have.
 */
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { DocumentId } from '../../core/document-id.ts'
import { type ClaimsOf, defineAdapter } from '../../core/domain/adapter.ts'
import { registration, written } from '../../core/domain/facts/author.ts'
import { factsRoot } from '../../core/domain/facts/fact.ts'
import type { DocumentFold, FactEntry } from '../../core/domain/fold/document-fold.ts'
import { workflow } from '../../core/domain/kinds/workflow.ts'
import type { EngineName } from '../../core/engine/engine.ts'
import { engines } from '../../core/engine/engines.ts'
import type { LiveDocument } from '../../core/engine/live-document.ts'
import { noOffset, toOffset } from '../../core/offset.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'
import { Arbiter, type Decided } from '../../server/arbiter/arbiter.ts'
import { claimsKnown } from '../../server/arbiter/claims.ts'
import { DecisionStore, Fenced, type Judged, type Settled } from '../../server/arbiter/decision-store.ts'
import { sweepDecisions } from '../../server/arbiter/sweep.ts'
import type { Change } from '../../server/log/log.ts'
import { partCount, partOf } from '../../server/views/parts.ts'
import type { Sql } from '../../server/views/sql/sql.ts'
import { installTidemark } from '../../server/views/store/schema.ts'
import { type Author, enginesInTurn, newAuthor } from '../support/author.ts'
import { silentLogger } from '../support/silent-logger.ts'
import { until } from '../support/wait.ts'

/** Everybody sells the same harvest. */
const harvest: ClaimsOf = ({ type }) =>
  type === 'state.sell' ? { takes: ['harvest/1'], frees: [] } : { takes: [], frees: ['harvest/1'] }

const adapter = defineAdapter({
  name: 'deals',
  version: 1,
  documents: 'deals/:id',
  fields: {
    state: workflow({
      states: ['open', 'sold', 'cancelled'],
      initial: 'open',
      transitions: {
        sell: { from: 'open', to: 'sold', consistency: 'decided' },
        cancel: { from: ['open', 'sold'], to: 'cancelled', consistency: 'decided' },
        reopen: { from: ['sold', 'cancelled'], to: 'open', consistency: 'decided' },
      },
    }),
  },
  claims: harvest,
})

/** A document and its log, as far as the arbiter sees them. */
class Deal {
  readonly id: DocumentId
  readonly engine: EngineName
  readonly updates: Uint8Array[] = []
  private readonly live: LiveDocument
  private readonly people = new Map<string, { readonly author: Author; heard: number; seq: number }>()

  constructor(id: string, engine: EngineName) {
    this.id = id as DocumentId
    this.engine = engine
    this.live = engines[engine].open([])
  }

  append(update: Uint8Array): void {
    this.updates.push(update)
    this.live.apply([update])
  }

  ask(actor: string, transition: string): string {
    let person = this.people.get(actor)
    if (person === undefined) {
      person = { author: newAuthor[this.engine](), heard: 0, seq: 0 }
      this.people.set(actor, person)
      this.write(person, registration(actor, actor))
    }
    const fold = this.fold()
    // Of whatever version there is now, by people who know of it.
    const { version } = fold.read('', 'state') as { version: string }
    const entry = written(fold, actor, ++person.seq, {
      entity: '',
      type: `state.${transition}`,
      payload: version === '' ? {} : { at: version },
    })
    this.write(person, entry)
    return entry.key
  }

  /** As the projector would have it after reading the log anew. */
  fold(): DocumentFold {
    return adapter.facts!.projection.foldOf(this.live.state)
  }

  close(): void {
    this.live.close()
  }

  private write(person: { readonly author: Author; heard: number }, { key, value }: FactEntry): void {
    person.author.hear(this.updates.slice(person.heard))
    this.append(person.author.set(factsRoot, key, value!)!)
    person.heard = this.updates.length
  }
}

export function arbiterContract(open: () => Promise<Sql>): void {
  let sql: Sql
  let store: DecisionStore
  let fence = 1
  const fences = new Map(Array.from({ length: partCount }, (_, part) => [part, 1]))

  beforeAll(async () => {
    sql = await open()
    await sql.start()
    await until('the database is up', () =>
      sql.batch([{ text: 'select 1' }]).then(
        () => true,
        () => false,
      ),
    )
    await installTidemark(sql)
    await sql.batch([
      {
        text: `insert into tidemark.parts (part, fence) select p, 1 from generate_series(0, ${partCount - 1}) p`,
      },
    ])
    store = new DecisionStore(sql)
    await engines.automerge.load()
  })
  afterAll(() => sql.close())
  beforeEach(async () => {
    fence = 1
    await sql.batch([
      { text: 'truncate tidemark.decisions, tidemark.claims, tidemark.claimants' },
      { text: 'update tidemark.parts set fence = 1' },
    ])
  })

  const opened: Deal[] = []
  afterEach(() => {
    for (const deal of opened.splice(0)) deal.close()
  })

  describe.each(enginesInTurn)('the arbiter, over $name', ({ engineOf, name }) => {
    // What does not depend on the engine is shown by the first.
    const numRuns = name === 'yjs' ? 25 : 8
    function dealOf(id: string, index = 0): Deal {
      const deal = new Deal(id, engineOf(index))
      opened.push(deal)
      return deal
    }

    function arbiterOf(
      deals: readonly Deal[],
      options: {
        settle?: DecisionStore['settle']
        onAppend?: () => void
        onStale?: (deal: Deal) => void
        claims?: ClaimsOf
        mayClaim?: () => boolean
        lineage?: number
      } = {},
    ) {
      const {
        settle = (...each) => store.settle(...each),
        onAppend = () => undefined,
        onStale = () => undefined,
        claims = null,
        mayClaim = () => true,
        lineage = 0,
      } = options
      const decided: Decided[] = []
      const arbiter = new Arbiter({
        store: { settle, free: (document, lineage) => store.free(document, lineage) },
        fenceOf: (part) => (fences.has(part) ? fence : undefined),
        mayClaim,
        onDecided: (batch) => decided.push(batch),
        onStale: (id) => onStale(dealOfId(id)),
        logger: silentLogger,
        append: async (id, update) => {
          onAppend()
          const deal = dealOfId(id)
          // What the log has adds nothing to it, and nobody hears of it again.
          if (deal.updates.some((each) => Buffer.compare(each, update) === 0)) return
          deal.append(update)
          consider(deal)
        },
      })
      const dealOfId = (id: DocumentId): Deal => deals.find((deal) => deal.id === id)!
      const consider = (deal: Deal, fold = deal.fold()): void =>
        arbiter.consider(deal.id, { fold, lineage, engine: deal.engine, claimsOf: claims })
      const considerAll = (): void => {
        for (const deal of deals) consider(deal)
      }
      const count = (result: Exclude<keyof Decided, 'longestMs'>): number =>
        decided.reduce((sum, batch) => sum + batch[result], 0)
      return { arbiter, consider, considerAll, count }
    }

    const outcomes = (deal: Deal): string[] =>
      deal
        .fold()
        .facts('')
        .filter(({ isDecision }) => !isDecision)
        .map(({ outcome }) => outcome.status)

    test('decides what is undecided, one after the other, each by what the last came to', async () => {
      const deal = dealOf('deals/1')
      const keys = [deal.ask('ann000', 'sell'), deal.ask('ben000', 'cancel'), deal.ask('cyd000', 'reopen')]
      const { arbiter, considerAll, count } = arbiterOf([deal])
      considerAll()
      expect(arbiter.intents).toBe(2)
      await until('decided', () => arbiter.size === 0)
      // All three saw the start: the first one is accepted, and moves on from there.
      expect(keys.map((key) => deal.fold().fact(key)?.outcome.status)).toEqual([
        'effective',
        'rejected',
        'rejected',
      ])
      // Nothing can be opened again that is open: that needs nobody's word.
      expect(arbiter.decidedCount).toBe(2)
      expect([count('accepted'), count('rejected'), arbiter.intents]).toEqual([1, 1, 0])
      await arbiter.close()
    })

    test('an intent that comes back after its decision, with a document that was read before, is not waited for', async () => {
      const deal = dealOf('deals/1')
      const key = deal.ask('ann000', 'sell')
      const before = deal.fold()
      const stale: Deal[] = []
      const { arbiter, consider, considerAll, count } = arbiterOf([deal], {
        onStale: (one) => stale.push(one),
      })
      considerAll()
      await until('decided', () => arbiter.size === 0)
      consider(deal, before)
      await until('it is to be read again', () => stale.length === 1)
      expect([arbiter.intents, count('repeated')]).toEqual([1, 1])
      consider(stale[0]!)
      expect([arbiter.size, deal.fold().fact(key)?.outcome.status]).toEqual([0, 'effective'])
      await arbiter.close()
    })

    test('of what only one can have, one has it; when it is freed, the next', async () => {
      const deals = Array.from({ length: 20 }, (_, i) => dealOf(`deals/${i}`, i))
      const first = deals.map((deal) => deal.ask('ann000', 'sell'))
      const { arbiter, considerAll, count } = arbiterOf(deals, { claims: harvest })
      considerAll()
      await until('decided', () => arbiter.size === 0)
      const won = deals.filter((deal, i) => deal.fold().fact(first[i]!)?.outcome.status === 'effective')
      expect(won).toHaveLength(1)
      expect([count('accepted'), count('claimed')]).toEqual([1, 19])
      for (const [i, deal] of deals.entries())
        if (deal !== won[0])
          expect(deal.fold().fact(first[i]!)?.outcome).toMatchObject({
            status: 'rejected',
            reason: 'claimed',
          })

      won[0]!.ask('ann000', 'cancel')
      considerAll()
      await until('decided', () => arbiter.size === 0)
      const other = deals.find((deal) => deal !== won[0])!
      const second = other.ask('ann000', 'sell')
      considerAll()
      await until('decided', () => arbiter.size === 0)
      expect(other.fold().fact(second)?.outcome.status).toBe('effective')
      await arbiter.close()
    })

    test('what may claim waits until all claims are known, and nothing else does', async () => {
      const [claiming, other] = [dealOf('deals/1', 0), dealOf('deals/2', 1)]
      for (const deal of [claiming, other]) deal.ask('ann000', 'sell')
      let known = false
      const { arbiter } = arbiterOf([claiming, other], { mayClaim: () => known })
      for (const [deal, claimsOf] of [
        [claiming, harvest],
        [other, null],
      ] as const)
        arbiter.consider(deal.id, { fold: deal.fold(), lineage: 0, engine: deal.engine, claimsOf })
      await until('decided', () => outcomes(other)[0] === 'effective')
      expect(outcomes(claiming)).toEqual(['pending'])
      known = true
      arbiter.resume()
      await until('decided', () => outcomes(claiming)[0] === 'effective')
      await arbiter.close()
    })

    test('a document that was made anew gets nothing that was settled for the one before', async () => {
      const before = dealOf('deals/1')
      before.ask('ann000', 'sell')
      const first = arbiterOf([before], { claims: harvest })
      first.considerAll()
      await until('decided', () => outcomes(before)[0] === 'effective')
      await first.arbiter.close()

      const anew = dealOf('deals/1')
      const key = anew.ask('ann000', 'sell')
      const second = arbiterOf([anew], { claims: harvest, lineage: 7 })
      second.considerAll()
      await until('decided', () => outcomes(anew)[0] === 'effective')
      await second.arbiter.close()
      expect(anew.updates.at(-1)).not.toEqual(before.updates.at(-1))
      const [claims] = await sql.batch([{ text: 'select document, intent, lineage from tidemark.claims' }])
      expect(claims!.rows).toEqual([['deals/1', key, '7']])
    })

    test('a document that is deleted meanwhile keeps nobody from anything', async () => {
      const [gone, other] = [dealOf('deals/1', 0), dealOf('deals/2', 1)]
      gone.ask('ann000', 'sell')
      const dies = arbiterOf([gone], {
        claims: harvest,
        onAppend: () => {
          throw new TidemarkError('document_removed', 'The document was deleted')
        },
      })
      dies.considerAll()
      await until('given up', () => dies.arbiter.size === 0)
      await dies.arbiter.close()
      const key = other.ask('ben000', 'sell')
      const { arbiter, considerAll } = arbiterOf([other], { claims: harvest })
      considerAll()
      await until('decided', () => arbiter.size === 0)
      expect(other.fold().fact(key)?.outcome.status).toBe('effective')
      await arbiter.close()
    })

    describe('a database that does not know who has what', () => {
      const claims = async (): Promise<unknown> =>
        (
          await sql.batch([
            { text: 'select resource, document, lineage from tidemark.claims order by resource' },
          ])
        )[0]!.rows
      const held = [['harvest/1', 'deals/2', '0']]

      /** Three deals of which the second has it: the third wanted it, and the first let go of it. */
      async function forgotten() {
        const deals = [1, 2, 3].map((i) => dealOf(`deals/${i}`, i))
        const { arbiter, considerAll } = arbiterOf(deals, { claims: harvest })
        for (const [i, transition] of [
          [0, 'sell'],
          [0, 'cancel'],
          [1, 'sell'],
          [2, 'sell'],
        ] as const) {
          deals[i]!.ask('ann000', transition)
          considerAll()
          await until('decided', () => arbiter.size === 0)
        }
        await arbiter.close()
        expect(await claims()).toEqual(held)
        await sql.batch([{ text: 'truncate tidemark.decisions, tidemark.claims, tidemark.claimants' }])
        return deals
      }

      function reading(
        deals: readonly Deal[],
        {
          isFirst = true,
          isGone = () => false,
          isUnreadable = () => false,
        }: {
          isFirst?: boolean
          isGone?: (id: string) => boolean
          isUnreadable?: (id: string) => boolean
        } = {},
      ) {
        const progress = { epoch: noOffset, offset: toOffset(1) }
        return claimsKnown(
          {
            sql,
            adapters: [adapter],
            log: {
              changes: async (from) =>
                deals.slice(from).map(({ id }, i) => ({ document: id, sequence: from + i + 1 }) as Change),
            },
            documents: {
              bring: async (id) => {
                if (isUnreadable(id)) throw new TidemarkError('document_unreadable', 'It is too large')
                if (isGone(id)) return { kind: 'gone', progress }
                const { updates, engine } = deals.find((deal) => deal.id === id)!
                return { kind: 'whole', engine, state: engines[engine].open(updates).state, progress }
              },
            },
            fenceOf: () => (isFirst ? fence : undefined),
            logger: silentLogger,
            lookMs: 5,
          },
          AbortSignal.timeout(30_000),
        )
      }

      test('learns it from the documents, in whatever order, once', async () => {
        const deals = await forgotten()
        for (const order of [deals, deals.toReversed()]) {
          await sql.batch([{ text: 'truncate tidemark.claims, tidemark.claimants' }])
          let others = false
          const waiting = reading([], { isFirst: false }).then(() => {
            others = true
          })
          expect(others).toBe(false)
          await reading(order)
          expect(await claims()).toEqual(held)
          await waiting
        }
        // From here on they change with each decision: what documents say is not written over them.
        await sql.batch([{ text: 'truncate tidemark.claims' }])
        await reading(deals)
        expect(await claims()).toEqual([])
      })

      test('a document that cannot be read holds nothing, and keeps nobody waiting', async () => {
        const deals = await forgotten()
        await reading(deals, { isUnreadable: (id) => id === 'deals/1' })
        expect(await claims()).toEqual(held)
      })

      test('keeps nothing of a document that is deleted while it is read', async () => {
        const deals = await forgotten()
        let looks = 0
        await reading(deals, { isGone: (id) => id === 'deals/2' && ++looks > 1 })
        expect(looks).toBeGreaterThan(1)
        expect(await claims()).toEqual([])
      })
    })

    test('whoever was paused, and holds the part no more, settles nothing', async () => {
      const deal = dealOf('deals/1')
      deal.ask('ann000', 'sell')
      await sql.batch([{ text: 'update tidemark.parts set fence = 2' }])
      const { arbiter, considerAll } = arbiterOf([deal])
      considerAll()
      await until('given up', () => arbiter.size === 0)
      expect(outcomes(deal)).toEqual(['pending'])
      fence = 2
      considerAll()
      await until('decided', () => outcomes(deal)[0] === 'effective')
      await arbiter.close()
      await expect(store.settle([], new Map([[partOf(deal.id), 1]]))).rejects.toThrow(Fenced)
    })

    test('a decision that never reached the log gets there, with the same bytes, whoever takes over', async () => {
      const deal = dealOf('deals/1')
      deal.ask('ann000', 'sell')
      let settled: Settled[] = []
      const dies = arbiterOf([deal], {
        settle: async (judged, given) => {
          settled = await store.settle(judged, given)
          // Killed here: nothing was appended.
          throw new Fenced('dead')
        },
      })
      dies.considerAll()
      await until('dead', () => dies.arbiter.size === 0)
      expect(outcomes(deal)).toEqual(['pending'])
      const next = arbiterOf([deal])
      next.considerAll()
      await until('decided', () => next.arbiter.size === 0)
      expect(deal.updates.at(-1)).toEqual(settled[0]!.update)
      expect([next.count('accepted'), next.count('repeated')]).toEqual([0, 1])
      await next.arbiter.close()
    })

    test('deaths at any step, two at once and repetitions leave one decision for each intent', async () => {
      const asks = fc.array(
        fc.tuple(
          fc.nat({ max: 2 }),
          fc.constantFrom('ann000', 'ben000'),
          fc.constantFrom('sell', 'cancel', 'reopen'),
        ),
        { minLength: 1, maxLength: 12 },
      )
      const deaths = fc.array(fc.constantFrom('before', 'after', 'append', 'none'), { maxLength: 5 })
      let run = 0
      await fc.assert(
        fc.asyncProperty(asks, deaths, async (history, lives) => {
          run++
          await sql.batch([{ text: 'truncate tidemark.decisions, tidemark.claims' }])
          const deals = Array.from({ length: 3 }, (_, i) => dealOf(`deals/${run}-${i}`, i))
          for (const [i, actor, transition] of history) deals[i]!.ask(actor, transition)
          const asked = deals.flatMap((deal) =>
            deal
              .fold()
              .undecided()
              .map(({ key }) => `@${key} of ${deal.id}`),
          )
          const arbiters = [...lives, 'none', 'none'].map((life) => {
            let left = 1 + (run % 3)
            const settle = async (judged: readonly Judged[], given: ReadonlyMap<number, number>) => {
              if (life === 'before') throw new Fenced('dead')
              const settled = await store.settle(judged, given)
              if (life === 'after') throw new Fenced('dead')
              return settled
            }
            return arbiterOf(deals, {
              claims: harvest,
              settle,
              onAppend: () => {
                if (life === 'append' && left-- <= 0) throw new Fenced('dead')
              },
            })
          })
          for (const [i, { arbiter, considerAll }] of arbiters.entries()) {
            considerAll()
            // The last two go on at once.
            if (i < arbiters.length - 2) await until('dead or done', () => arbiter.size === 0)
          }
          await until('all decided', () => deals.every((deal) => !outcomes(deal).includes('pending')))
          for (const { arbiter } of arbiters) await arbiter.close()
          const holders: string[] = []
          for (const deal of deals) {
            const twice = engines[deal.engine].open([...deal.updates, ...deal.updates])
            const state = twice.state.map(factsRoot)
            const keys = [...state.written()]
            expect(keys.filter((key) => !state.isIntact(key))).toEqual([])
            twice.close()
            expect(deal.fold().reports()).toEqual([])
            if ((deal.fold().read('', 'state') as { state: string }).state === 'sold') holders.push(deal.id)
          }
          const decisions = deals.flatMap((deal) =>
            deal
              .fold()
              .facts('')
              .filter(({ isDecision }) => isDecision)
              .map(({ key }) => `${key} of ${deal.id}`),
          )
          expect(decisions.sort()).toEqual(asked.sort())
          expect(holders.length).toBeLessThanOrEqual(1)
        }),
        { numRuns },
      )
    })
  })

  test('decisions do not pile up: those of long ago are swept by one node, and the others kept', async () => {
    await sql.batch([
      {
        text: `insert into tidemark.decisions (document, intent, update, at)
          select 'deals/' || days, 'ann000:1', '', now() - make_interval(days => days)
          from unnest(array[0, 29, 31, 400]) days`,
      },
    ])
    const left = async () => {
      const [result] = await sql.batch([{ text: 'select document from tidemark.decisions order by at desc' }])
      return result!.rows.map(([document]) => document)
    }
    const end = new AbortController()
    let isFirst = false
    let looks = 0
    const first = (): boolean => {
      looks++
      return isFirst
    }
    const sweeping = sweepDecisions(
      { store, isFirst: first, logger: silentLogger, everyMs: 5, lookMs: 5 },
      end.signal,
    )
    await until('it looked', () => looks > 2)
    expect(await left()).toHaveLength(4)
    isFirst = true
    await until('swept', async () => (await left()).length === 2)
    expect(await left()).toEqual(['deals/0', 'deals/29'])
    end.abort()
    await sweeping
  })
}
