import { useEffect, useState } from 'react'
import type { Client } from 'tidemark/client'
import { useQuery } from 'tidemark/client/react'
import { Anchor } from './anchor.tsx'
import { linkTo } from './place.ts'
import { nameOf } from './recents.ts'

/** Between two keystrokes nobody reads results. */
const settleMs = 150
/** Around what was found; no document has them in its text for long, and markup they are not. */
const [before, after] = ['\ue000', '\ue001']

interface Found {
  readonly document: string
  readonly title: string
  readonly snippet: string
}

/** The text that is shown is cut out of few: it costs more than finding them. */
const sql = `
  with asked as (select to_tsquery('simple', $1) as query),
  found as (
    select document, title, text, ts_rank_cd(search, query) as rank
    from notes, asked where search @@ query
    order by rank desc, document limit 20
  )
  select document, title, ts_headline('simple', replace(left(text, 100000), chr(10), ' · '), query,
    'StartSel=${before}, StopSel=${after}, MaxFragments=2, MaxWords=22, MinWords=8, FragmentDelimiter=" … "') as snippet
  from found, asked order by rank desc, document`

/** Beginnings of words, all of which must be there. */
export function textQueryOf(typed: string): string {
  const words = typed.match(/[\p{L}\p{N}\p{M}]+/gu) ?? []
  return words.map((word) => `${word}:*`).join(' & ')
}

export function Search({ client, typed }: { readonly client: Client; readonly typed: string }) {
  const query = useSettled(textQueryOf(typed))
  // What this page has saved a moment ago is to be found, too; but rather old results than none.
  const [isBehind, setIsBehind] = useState(false)
  const options = isBehind ? {} : { after: true as const }
  const found = useQuery<Found>(client, query === '' ? null : sql, [query], options)
  if (!isBehind && found.error?.code === 'views_behind') setIsBehind(true)
  if (query === '') return null
  return (
    <section className="results" aria-label="Results" aria-busy={found.state === 'asking'}>
      {found.state === 'failed' && (
        <p className="quiet" role="alert">
          The server could not search: {found.error?.message}.{' '}
          <button type="button" className="plain" onClick={found.again}>
            Try again
          </button>
        </p>
      )}
      {isBehind && <p className="quiet">The newest edits may be missing: the server is behind with them.</p>}
      {found.state === 'answered' && found.rows.length === 0 && (
        <p className="quiet">No document has words that begin like these.</p>
      )}
      <ol>
        {found.rows.map(({ document, title, snippet }) => (
          <li key={document}>
            <Anchor to={linkTo(document)}>
              <strong>{title || nameOf(document)}</strong>
              <span>{marked(snippet)}</span>
            </Anchor>
          </li>
        ))}
      </ol>
    </section>
  )
}

function marked(snippet: string) {
  return snippet.split(before).map((part, place) => {
    const [found, rest] = place === 0 ? ['', part] : part.split(after)
    return (
      // biome-ignore lint/suspicious/noArrayIndexKey: parts of one text, in its order.
      <span key={place}>
        {found !== '' && <mark>{found}</mark>}
        {rest}
      </span>
    )
  })
}

function useSettled(value: string): string {
  const [settled, setSettled] = useState(value)
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), settleMs)
    return () => clearTimeout(timer)
  }, [value])
  return value === '' ? '' : settled
}
