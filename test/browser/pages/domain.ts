/** `useDomain` on a page of its own, without a server: the test mounts, and reads what was drawn. */
import { createElement, memo, StrictMode } from 'react'
import { createRoot, type Root } from 'react-dom/client'
import { createClient } from '../../../client/index.ts'
import { type OpenDomain, useDomain } from '../../../client/react/domain.ts'
import type { AutomergeHandle } from '../../../client/types.ts'
import { counter } from '../../../core/domain/kinds/counter.ts'
import { workflow } from '../../../core/domain/kinds/workflow.ts'

const definition = {
  fields: {
    sheep: counter(),
    state: workflow({
      states: ['open', 'shut'],
      initial: 'open',
      transitions: { shut: { from: 'open', to: 'shut', consistency: 'decided' } },
    }),
  },
}

export interface DomainPage {
  /** In strict mode; null: with no document. Again: with another one. */
  show(documentId: string | null, engine?: 'yjs' | 'automerge'): void
  unmount(): void
  /** Each time the memoised part was drawn: what was in it. */
  readonly drawn: (readonly [id: string, sheep: number, state: string, expected: string])[]
  /** How often there was nothing. */
  nothing: number
  add(sheep: number): void
  shut(): void
  /** Documents that the client has open. */
  open(): string[]
}

const client = createClient({ url: location.origin, storage: 'memory' })
client.pause()
const acting = { actor: 'ann000', subject: '' }
let current: Pen | null = null
let root: Root | null = null

const Part = memo(({ pen }: { readonly pen: Pen }) => {
  const { sheep, state } = pen.fields
  domainPage.drawn.push([pen.handle.id, sheep.value, state.value.state, state.expected.state])
  return null
})

type Pen = OpenDomain<typeof definition> | OpenDomain<typeof definition, AutomergeHandle>

function YjsPage({ id }: { readonly id: string | null }) {
  return drawnAs(useDomain(client, id, definition, acting))
}

function AutomergePage({ id }: { readonly id: string | null }) {
  return drawnAs(useDomain(client, id, definition, acting, { engine: 'automerge' }))
}

function drawnAs(pen: Pen | null) {
  current = pen
  if (pen !== null) return createElement(Part, { pen })
  domainPage.nothing++
  return null
}

const domainPage: DomainPage = {
  show(id, engine = 'yjs') {
    root ??= createRoot(document.getElementById('app')!)
    const page = engine === 'yjs' ? YjsPage : AutomergePage
    root.render(createElement(StrictMode, null, createElement(page, { id })))
  },
  unmount() {
    root?.unmount()
    root = null
  },
  drawn: [],
  nothing: 0,
  add: (sheep) => void current?.fields.sheep.do.add(sheep),
  shut: () => void current?.fields.state.do.move('shut'),
  open: () => client.inspect().documents.flatMap(({ id, handles }) => (handles > 0 ? [id] : [])),
}
Object.assign(globalThis, { domainPage })
