/** The hooks for queries in strict mode, on a page of their own: `?relay=http://…`. The test says what to ask, and reads what was drawn. */
import { createElement, StrictMode, useEffect, useRef } from 'react'
import { createRoot } from 'react-dom/client'
import { type Client, createClient, type QueryOptions, type QueryRow } from '../../../client/index.ts'
import { type LiveRowsState, type QueryState, useLive, useQuery } from '../../../client/react/hooks.ts'

export interface QueriesPage {
  readonly client: Client
  /** In strict mode; again: another question. */
  ask(sql: string | null, params: string[], after?: true): void
  listen(sql: string, params: string[]): void
  unmount(): void
  /** Draws everything once more; nothing has changed. */
  redraw(): void
  answer(): Pick<QueryState<QueryRow>, 'rows' | 'state'> & { readonly code: string | undefined }
  live(): Pick<LiveRowsState<QueryRow>, 'rows' | 'state' | 'loaded'>
  /** How often the rows were new ones. */
  readonly newRows: number
}

const client = createClient({
  url: new URL(location.href).searchParams.get('relay') ?? '',
  storage: 'memory',
})
const root = createRoot(document.getElementById('app')!)
let drawn: () => ReturnType<typeof createElement> | null = () => null
let asked: QueryState<QueryRow> | null = null
let heard: LiveRowsState<QueryRow> | null = null
let newRows = 0

function Ask({ sql, params, after }: { sql: string | null; params: string[] } & Pick<QueryOptions, 'after'>) {
  // A new list and new options each time, as apps write them.
  const now = useQuery(client, sql, [...params], { ...(after && { after }) })
  useNewRows(now.rows)
  useEffect(() => {
    asked = now
  }, [now])
  return null
}

function Listen({ sql, params }: { sql: string; params: string[] }) {
  const now = useLive(client, sql, [...params])
  useNewRows(now.rows)
  useEffect(() => {
    heard = now
  }, [now])
  return null
}

function useNewRows(rows: readonly QueryRow[]): void {
  const last = useRef<readonly QueryRow[] | null>(null)
  useEffect(() => {
    if (last.current !== rows) newRows++
    last.current = rows
  }, [rows])
}

const draw = (next = drawn): void => {
  drawn = next
  root.render(createElement(StrictMode, null, next()))
}
const queriesPage: QueriesPage = {
  client,
  ask: (sql, params, after) => draw(() => createElement(Ask, { sql, params, ...(after && { after }) })),
  listen: (sql, params) => draw(() => createElement(Listen, { sql, params })),
  unmount: () => draw(() => null),
  redraw: () => draw(),
  answer: () => ({ rows: asked?.rows ?? [], state: asked?.state ?? 'idle', code: asked?.error?.code }),
  live: () => ({
    rows: heard?.rows ?? [],
    state: heard?.state ?? 'connecting',
    loaded: heard?.loaded === true,
  }),
  get newRows() {
    return newRows
  },
}
Object.assign(globalThis, { queriesPage })
