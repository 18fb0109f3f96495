/** The door of facts over real Yjs updates: honest ones come in, whatever the order; nothing else does, and nothing is left to ignore. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import { registration, written } from '../../../../core/domain/facts/author.ts'
import { aheadMsMax, FactDoor } from '../../../../core/domain/facts/door.ts'
import { factsRoot } from '../../../../core/domain/facts/fact.ts'
import { DocumentFold, type FactEntry } from '../../../../core/domain/fold/document-fold.ts'
import { clockedFacts } from '../../../../core/domain/fold/fields.ts'
import { counter } from '../../../../core/domain/kinds/counter.ts'
import { lastWrite } from '../../../../core/domain/kinds/last-write.ts'
import { engines } from '../../../../core/engine/engines.ts'

const engine = engines.yjs
const fields = {
  fields: { stock: counter(), note: lastWrite() },
  collections: { lines: { note: lastWrite() } },
}
const noonMs = Date.UTC(2026, 6, 1, 12)

/** As a room has it: what is stored, and what it knows of that. */
class Stored {
  readonly updates: Uint8Array[]
  private readonly guard
  private readonly door

  constructor(updates: Uint8Array[] = []) {
    this.updates = updates
    this.guard = engine.writeOnce(factsRoot, updates)
    this.door = new FactDoor(this.guard.written, { clocked: new Set(clockedFacts(fields)) })
  }

  /** Null when it was taken in. */
  offer(update: Uint8Array, author: string | null): string | null {
    const examined = this.guard.examine(update)
    if (examined.refused !== null) return examined.refused
    const refusal = this.door.enter(
      examined.writes,
      author === null ? null : { subject: author, roles: ['buyer'] },
      noonMs,
    )
    if (refusal !== null) return refusal.reason
    examined.accept()
    this.updates.push(update)
    return null
  }
}

class Replica {
  readonly doc = new Y.Doc()
  readonly fold = new DocumentFold(fields)
  readonly emitted: Uint8Array[] = []
  private seq = 1
  readonly actor: string
  readonly subject: string

  constructor(actor: string, subject: string) {
    this.actor = actor
    this.subject = subject
    this.doc.on('update', (update: Uint8Array, _origin: unknown, _doc: Y.Doc, { local }: Y.Transaction) => {
      if (local) this.emitted.push(update)
    })
    this.put(registration(actor, subject))
  }

  add(amount: number): void {
    this.put(written(this.fold, this.actor, this.seq++, { entity: '', type: 'stock.add', payload: amount }))
  }

  put(entry: FactEntry): void {
    this.fold.apply([entry])
    this.facts.set(entry.key, entry.value)
  }

  get facts(): Y.Map<unknown> {
    return this.doc.getMap(factsRoot)
  }

  take(updates: readonly Uint8Array[]): void {
    for (const update of updates) Y.applyUpdate(this.doc, update)
    this.fold.apply(
      [...this.facts].map(([key, value]) => ({ key, value: value as FactEntry['value'], intact: true })),
    )
  }
}

test('honest facts among other edits come in, and all of them are intact', () => {
  const commands = fc.array(
    fc.tuple(fc.nat({ max: 2 }), fc.constantFrom('add', 'edit', 'send', 'send', 'sync', 'reopen')),
    { maxLength: 60 },
  )
  fc.assert(
    fc.property(commands, (history) => {
      let stored = new Stored()
      const replicas = ['ann', 'ben', 'cyd'].map((subject) => new Replica(`${subject}000`, subject))
      for (const [who, what] of history) {
        const replica = replicas[who]!
        const { doc } = replica
        if (what === 'add') replica.add(1)
        else if (what === 'edit') {
          const text = doc.getText('notes')
          if (text.length > 3) text.delete(1, 2)
          else text.insert(0, 'abc')
          doc.getMap('settings').set('colour', who)
        } else if (what === 'send') {
          for (const update of replica.emitted.splice(0))
            expect(stored.offer(update, replica.subject)).toBeNull()
        } else if (what === 'sync') replica.take(stored.updates)
        else {
          // Compacted, and read anew.
          const { bytes } = engine.compact(stored.updates)
          stored = new Stored([bytes])
        }
      }
      for (const replica of replicas)
        for (const update of replica.emitted.splice(0))
          expect(stored.offer(update, replica.subject)).toBeNull()
      const { state } = engine.open(stored.updates)
      const facts = state.map(factsRoot)
      for (const key of facts.written()) expect(facts.isIntact(key)).toBe(true)
      expect(facts.keys()).toEqual(
        replicas
          .flatMap(({ facts }) => [...facts.keys()].filter((key) => facts.has(key)))
          .filter((key, i, all) => all.indexOf(key) === i)
          .sort(),
      )
    }),
    { numRuns: 100 },
  )
})

describe('whoever tries something else', () => {
  function scene() {
    const stored = new Stored()
    const victim = new Replica('victim', 'ann')
    victim.add(5)
    for (const update of victim.emitted.splice(0)) expect(stored.offer(update, 'ann')).toBeNull()
    const mallory = new Replica('mallor', 'mallory')
    mallory.take(stored.updates)
    for (const update of mallory.emitted.splice(0)) expect(stored.offer(update, 'mallory')).toBeNull()
    const attempt = (edit: (facts: Y.Map<unknown>) => void): string | null => {
      mallory.doc.transact(() => edit(mallory.facts))
      return stored.offer(Y.mergeUpdates(mallory.emitted.splice(0)), 'mallory')
    }
    return { stored, victim, mallory, attempt }
  }
  const fact = (payload: unknown) => ['', 'stock.add', payload]

  test.each<[string, (facts: Y.Map<unknown>) => void, string]>([
    ['rewrites', (facts) => facts.set('victim:1', fact(9)), 'rewrites'],
    ['deletes', (facts) => facts.delete('victim:1'), 'deletes'],
    ['writes as somebody else', (facts) => facts.set('victim:2', fact(9)), 'not_yours'],
    ['registers for somebody else', (facts) => facts.set('eve000:0', ['', '@actor', 'ann']), 'not_yours'],
    ['decides', (facts) => facts.set('@victim:1', ['', '@', { accepted: true }]), 'decision'],
    ['leaves a number out', (facts) => facts.set('mallor:7', fact(9)), 'out_of_order'],
    [
      'acts in a role of others',
      (facts) => facts.set('mallor:1', ['', 'stock.add', 9, '', 1, 0, ['buyer', 'seller']]),
      'not_your_role',
    ],
    ['writes what is no fact', (facts) => facts.set('mallor:1', { amount: 9 }), 'malformed'],
    ['writes a key that is none', (facts) => facts.set('total', 9), 'malformed'],
    ['writes a nested type', (facts) => facts.set('mallor:1', new Y.Map()), 'no_entry'],
    [
      'writes twice at once',
      (facts) => {
        facts.set('mallor:1', fact(1))
        facts.set('mallor:1', fact(2))
      },
      'no_entry',
    ],
  ])('%s: is refused', (_what, edit, reason) => {
    const { attempt, stored } = scene()
    const before = stored.updates.length
    expect(attempt(edit)).toBe(reason)
    expect(stored.updates).toHaveLength(before)
  })

  test('of an update that is refused nothing has come in, and what was right of it may come again', () => {
    const { stored } = scene()
    const update = (entries: readonly [string, unknown][]): Uint8Array => {
      const doc = new Y.Doc()
      doc.transact(() => {
        for (const [key, value] of entries) doc.getMap(factsRoot).set(key, value)
      })
      return Y.encodeStateAsUpdate(doc)
    }
    const first = ['mallor:1', fact(1)] as [string, unknown]
    const second = ['mallor:2', fact(2)] as [string, unknown]
    expect(stored.offer(update([first, second, ['victim:2', fact(9)]]), 'mallory')).toBe('not_yours')
    expect(stored.offer(update([second]), 'mallory')).toBe('out_of_order')
    expect(stored.offer(update([first, second]), 'mallory')).toBeNull()
  })

  test.each<[string, number, string | null]>([
    ['', 86_400_000, 'ahead'],
    ['lines/7', aheadMsMax + 1, 'ahead'],
    ['lines/7', aheadMsMax, null],
    // Who was offline that long brings what is that old.
    ['', -86_400_000, null],
    // The fold says of each what it is.
    ['cows/7', 86_400_000, null],
  ])('a clock in "%s" that is %i ms ahead: %s', (entity, aheadMs, refused) => {
    const { attempt } = scene()
    const told = ['note.set', { value: 'x', time: noonMs + aheadMs }]
    expect(attempt((facts) => facts.set('mallor:1', [entity, ...told]))).toBe(refused)
  })

  test('a key that was written without knowing of the other is refused', () => {
    const { stored, victim } = scene()
    const twin = new Y.Doc()
    twin.getMap(factsRoot).set('victim:1', fact(9))
    expect(stored.offer(Y.encodeStateAsUpdate(twin), 'ann')).toBe('exists')
    expect(victim.actor).toBe('victim')
  })

  test('elements among the entries are refused', () => {
    const { stored } = scene()
    const list = new Y.Doc()
    list.getArray(factsRoot).push([1])
    expect(stored.offer(Y.encodeStateAsUpdate(list), 'mallory')).toBe('no_entry')
  })

  test('what builds on facts that are still to come is refused, whether it rewrites or deletes them', () => {
    const { stored, victim } = scene()
    const known = Y.encodeStateVector(victim.doc)
    victim.add(7)
    const ahead = Y.encodeStateAsUpdate(victim.doc)
    for (const edit of [
      (facts: Y.Map<unknown>) => facts.set('victim:2', fact(9)),
      (facts: Y.Map<unknown>) => facts.delete('victim:2'),
    ]) {
      const mallory = new Y.Doc()
      Y.applyUpdate(mallory, ahead)
      const before = Y.encodeStateVector(mallory)
      edit(mallory.getMap(factsRoot))
      // A delete set is always whole: without the facts themselves, it is as if the deletes alone were sent.
      expect(stored.offer(Y.encodeStateAsUpdate(mallory, before), 'mallory')).toBe('incomplete')
    }
    expect(stored.offer(Y.encodeStateAsUpdate(victim.doc, known), 'ann')).toBeNull()
  })

  test('an item put before a fact, so that the fact looks rewritten, is refused', () => {
    const { stored, victim } = scene()
    // As no client of Yjs does it: a right neighbour, and no left one.
    const item = Y.decodeUpdate(Y.encodeStateAsUpdate(victim.doc)).structs.find(
      (struct) => struct instanceof Y.Item && struct.parentSub === 'victim:1',
    )!
    const { client, clock } = item.id
    const bytes = [1, 1, 77, 0, 0x40 | 8, ...varUint(client), ...varUint(clock), 1, 125, 9, 0]
    expect(stored.offer(Uint8Array.from(bytes), 'mallory')).toBe('rewrites')
  })

  test('a role that one has may be acted in', () => {
    const { attempt } = scene()
    expect(attempt((facts) => facts.set('mallor:1', ['', 'stock.add', 9, '', 1, 0, ['buyer']]))).toBeNull()
  })

  test('the server decides, once', () => {
    const { stored } = scene()
    const decision = (): Uint8Array => {
      const doc = new Y.Doc()
      doc.getMap(factsRoot).set('@victim:1', ['', '@', { accepted: true }])
      return Y.encodeStateAsUpdate(doc)
    }
    expect(stored.offer(decision(), null)).toBeNull()
    expect(stored.offer(decision(), null)).toBe('exists')
  })
})

test('a rewritten or deleted entry is not intact, whichever value wins, also after compaction', () => {
  for (const attack of ['rewrite', 'delete', 'concurrent'] as const) {
    const doc = new Y.Doc()
    doc.getMap(factsRoot).set('k', 1)
    if (attack === 'rewrite') doc.getMap(factsRoot).set('k', 2)
    if (attack === 'delete') doc.getMap(factsRoot).delete('k')
    const updates = [Y.encodeStateAsUpdate(doc)]
    if (attack === 'concurrent') {
      const other = new Y.Doc()
      other.getMap(factsRoot).set('k', 3)
      updates.push(Y.encodeStateAsUpdate(other))
    }
    for (const stored of [updates, [...updates].reverse(), [engine.compact(updates).bytes]]) {
      const facts = engine.open(stored).state.map(factsRoot)
      expect([...facts.written()]).toEqual(['k'])
      expect(facts.isIntact('k')).toBe(false)
    }
  }
})

function varUint(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  return [...bytes, rest]
}

test('an entry that is written without a document is what Yjs would write', () => {
  const doc = new Y.Doc()
  const value = ['', '@', { accepted: true, by: 'ann', n: 1.5, list: [null, -3, 'ü'] }]
  const replica = 0xfeedbeef
  for (const written of [0, 1]) {
    const update = engine.entry(factsRoot, `@ann000:${written + 1}`, value, { replica, written })
    engine.validate(update, { updateBytesMax: 1000 })
    Y.applyUpdate(doc, update)
    const same = new Y.Doc()
    same.clientID = replica
    if (written === 0) same.getMap(factsRoot).set('@ann000:1', value)
    if (written === 0) expect(update).toEqual(Y.encodeStateAsUpdate(same))
  }
  expect(doc.getMap(factsRoot).toJSON()).toEqual({ '@ann000:1': value, '@ann000:2': value })
  expect(doc.store.pendingStructs).toBeNull()
})
