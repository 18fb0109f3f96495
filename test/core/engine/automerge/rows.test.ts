/** What adapters make of Automerge documents: what they make of a Yjs document that says the same, followed or read at the end. */
import * as A from '@automerge/automerge'
import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import { factsRoot } from '../../../../core/domain/facts/fact.ts'
import {
  defineAdapter,
  loadEngine,
  multiValue,
  project,
  projectEntries,
  register,
  rowsOf,
  set,
  text,
} from '../../../../core/domain/index.ts'
import { textRoot } from '../../../../core/domain/kinds/text.ts'
import { automergeEngine as engine } from '../../../../core/engine/automerge/automerge-engine.ts'
import { yjsEngine } from '../../../../core/engine/yjs/yjs-engine.ts'
import { type Behaviour, play, steps } from '../../../support/fact-history.ts'
import { TablesInMemory } from '../../../support/tables-in-memory.ts'
import { histories } from './random-documents.ts'

beforeAll(() => loadEngine('automerge'))

const things = defineAdapter<{
  entries: { key: string; value: string }
  elements: { element: string; value: string }
}>({
  name: 'things',
  version: 1,
  documents: 'things/:id',
  sql: `CREATE TABLE entries (document text, entry text, key text, value text, PRIMARY KEY (document, entry));
    CREATE TABLE elements (document text, entry text, element text, value text, PRIMARY KEY (document, entry))`,
  entries: {
    entries: { map: 'map', rows: (key, value) => [{ key, value: JSON.stringify(value) }] },
    elements: { list: 'list', rows: (element, value) => [{ element, value: JSON.stringify(value) }] },
  },
})

test('rows of a followed document are those of one read at the end', () => {
  const context = things.contextOf('things/1')!
  fc.assert(
    fc.property(histories, ({ changes }) => {
      const live = engine.open([])
      const followed = new TablesInMemory().replace(project(things, live.state, context))
      for (const change of changes)
        followed.replace(projectEntries(things, live.state, live.apply([change]), context))
      const read = rowsOf(things, 'things/1', changes.toReversed(), 'automerge')
      expect(followed.content()).toEqual(TablesInMemory.contentOf(read))
      live.close()
    }),
    { numRuns: 12 },
  )
})

const deals = defineAdapter({
  name: 'deals',
  version: 1,
  documents: 'deals/:id',
  fields: { title: register<string>(), price: multiValue<number>(), tags: set(), notes: text() },
  columns: { title: 'text', price: 'numeric' },
})

const behave: Behaviour = (_, choice) => {
  const kind = choice.below(3)
  if (kind === 0) return { entity: '', type: 'title.set', payload: choice.of(['Wheat', 'Rye']) }
  if (kind === 1) return { entity: '', type: 'price.set', payload: choice.below(9) }
  return { entity: '', type: 'tags.add', payload: choice.of(['organic', 'late']) }
}

test('facts in an Automerge map give the rows that they give in a Yjs map', () => {
  const { fields } = deals.facts!
  fc.assert(
    fc.property(steps(15), (history) => {
      const { entries } = play(history, { fields, behave })
      const written = [yjsEngine, engine].map((each) =>
        entries.map(({ key, value }, i) =>
          each.entry(factsRoot, key, value!, { replica: i + 1, written: 0 }),
        ),
      )
      const [yjs, automerge] = written.map((updates, i) =>
        rowsOf(deals, 'deals/1', updates, i === 0 ? 'yjs' : 'automerge'),
      )
      expect(automerge).toEqual(yjs)
      expect(rowsOf(deals, 'deals/1', [engine.compact(written[1]!).bytes], 'automerge')).toEqual(yjs)
    }),
    { numRuns: 12 },
  )
})

test('a text beside facts is read', () => {
  const root = textRoot('', 'notes')
  const doc = A.from<Record<string, string>>({ [root]: 'first harvest' })
  const rows = rowsOf(deals, 'deals/1', [A.save(doc)], 'automerge')
  expect(JSON.stringify(rows)).toContain('first harvest')
})
