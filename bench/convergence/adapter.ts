/** The adapter of a world with views, as a file of its own for the relay to load. Each version adds a column. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export const schemas = ['pages', 'rules'] as const

export function writeAdapter(folder: string, version: number): void {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'convergence.ts'), source(version))
}

const source = (version: number): string => `
import { counter, defineAdapter, lastWrite, multiValue, quantity, set, workflow } from 'tidemark/adapter'

export const pages = defineAdapter({
  name: 'pages',
  version: ${version},
  documents: 'convergence/:id',
  sql: \`
    create table pages (document text primary key, edits integer not null, characters integer not null, grown integer not null);
    create table edits (document text, name text, place integer not null, primary key (document, name));
  \`,
  document(state) {
    const edits = state.map('edits')
    const text = state.text('text').toString()
    return {
      pages: [{ edits: edits.keys().length, characters: text.length, grown: ${version} }],
      edits: edits.entries().map(([name, place]) => ({ name, place })),
    }
  },
})

export const rules = defineAdapter({
  name: 'rules',
  version: ${version},
  documents: 'convergence/:id',
  fields: {
    stock: quantity(),
    price: multiValue(),
    tags: set(),
    count: counter(),
    due: lastWrite(),
    state: workflow({
      states: ['draft', 'review', 'done', 'sealed'],
      initial: 'draft',
      transitions: {
        submit: { from: 'draft', to: 'review', consistency: 'free' },
        revise: { from: ['review', 'done'], to: 'draft', consistency: 'free' },
        finish: { from: 'review', to: 'done', consistency: 'free' },
        seal: { from: ['draft', 'review', 'done'], to: 'sealed', consistency: 'decided' },
      },
    }),
  },
})
`
