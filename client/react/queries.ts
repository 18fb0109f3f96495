/**
 * Hooks for queries. As in hooks.ts nothing is asked while rendering, and results change only when something has changed. A question is
 * the same as long as its text and its parameters are: arrays and options may be written in place.
 */
import { useCallback, useEffect, useMemo, useState, useSyncExternalStore } from 'react'
import type { TidemarkError } from '../../core/protocol/error-codes.ts'
import type {
  LiveOptions,
  LiveQuery,
  QueryColumn,
  QueryOptions,
  QueryRow,
  QueryValue,
} from '../query-types.ts'
import type { Client } from '../types.ts'

export interface QueryState<Row extends object> {
  /** While another question is being asked, those of the one before. */
  readonly rows: readonly Row[]
  readonly columns: readonly QueryColumn[]
  /** `idle`: there is no question. */
  readonly state: 'idle' | 'asking' | 'answered' | 'failed'
  readonly error: TidemarkError | null
  /** Asks once more. */
  readonly again: () => void
}

export interface LiveRowsState<Row extends object>
  extends Pick<LiveQuery<Row>, 'rows' | 'columns' | 'loaded' | 'state' | 'error'> {
  readonly retry: () => void
}

const none: readonly never[] = []

/** Asks once for each question. `sql` null: nothing is asked. */
export function useQuery<Row extends object = QueryRow>(
  client: Client,
  sql: string | null,
  params: readonly QueryValue[] = none,
  { after }: Pick<QueryOptions, 'after'> = {},
): QueryState<Row> {
  const question = JSON.stringify({ sql, params, after })
  const [count, setCount] = useState(0)
  const current = `${count} ${question}`
  const [answer, setAnswer] = useState<
    Pick<QueryState<Row>, 'rows' | 'columns' | 'error'> & { readonly to: string }
  >({ rows: none, columns: none, error: null, to: '' })
  useEffect(() => {
    const { sql, params, after } = JSON.parse(question) as {
      sql: string | null
      params: QueryValue[]
      after?: true
    }
    const to = `${count} ${question}`
    if (sql === null) return setAnswer({ rows: none, columns: none, error: null, to })
    const given = new AbortController()
    client.query<Row>(sql, params, { signal: given.signal, ...(after && { after }) }).then(
      ({ rows, columns }) => {
        if (!given.signal.aborted) setAnswer({ rows, columns, error: null, to })
      },
      (error: TidemarkError) => {
        if (!given.signal.aborted) setAnswer((before) => ({ ...before, error, to }))
      },
    )
    return () => given.abort()
  }, [client, question, count])
  const again = useCallback(() => setCount((before) => before + 1), [])
  const { rows, columns, error, to } = answer
  const state = sql === null ? 'idle' : to !== current ? 'asking' : error === null ? 'answered' : 'failed'
  return useMemo(
    () => ({
      rows: sql === null ? none : rows,
      columns,
      state,
      error: state === 'failed' ? error : null,
      again,
    }),
    [sql, rows, columns, state, error, again],
  )
}

/** Rows that follow the documents while the component is there. */
export function useLive<Row extends object = QueryRow>(
  client: Client,
  sql: string,
  params: readonly QueryValue[] = none,
  { key }: Pick<LiveOptions, 'key'> = {},
): LiveRowsState<Row> {
  const question = JSON.stringify({ sql, params, key })
  const store = useMemo(() => liveStore<Row>(client, question), [client, question])
  return useSyncExternalStore(store.subscribe, store.snapshot, store.snapshot)
}

function liveStore<Row extends object>(client: Client, question: string) {
  const { sql, params, key } = JSON.parse(question) as { sql: string; params: QueryValue[]; key?: string[] }
  const listeners = new Set<() => void>()
  let open: LiveQuery<Row> | null = null
  let ending: AbortController | null = null
  let current: LiveRowsState<Row> = {
    rows: none,
    columns: none,
    loaded: false,
    state: 'connecting',
    error: null,
    retry: () => open?.retry(),
  }
  const show = (changed: Partial<LiveRowsState<Row>>): void => {
    current = { ...current, ...changed }
    for (const listener of [...listeners]) listener()
  }
  const begin = (): void => {
    const own = new AbortController()
    ending = own
    const take = ({ rows, columns, loaded, state, error }: LiveQuery<Row>): void => {
      if (!own.signal.aborted) show({ rows, columns, loaded, state, error })
    }
    client.live<Row>(sql, params, take, { signal: own.signal, ...(key && { key }) }).then(
      (live) => {
        open = live
      },
      // The client is closed, or its code could not be loaded.
      (error: TidemarkError) => show({ state: 'closed', error }),
    )
  }
  return {
    snapshot: () => current,
    subscribe: (changed: () => void) => {
      listeners.add(changed)
      if (ending === null) begin()
      return () => {
        listeners.delete(changed)
        // React's strict mode comes back at once: it keeps the stream that it had.
        setTimeout(() => {
          if (listeners.size > 0) return
          ending?.abort()
          ending = null
        }, 0)
      }
    },
  }
}
