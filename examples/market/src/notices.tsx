import { useSyncExternalStore } from 'react'
import type { Fact } from 'tidemark/client/domain'
import { type Stored, stored } from '../../editor/src/stored.ts'
import { type PartProps, Waits } from './part.tsx'
import { possible, waitsFor, what, why } from './words.ts'

const seenMax = 500
const seenBy = new Map<string, Stored<readonly string[]>>()

/** What one did that did not count, and what waits. Bids say it in their own place. */
export function Notices({ deal, market }: PartProps) {
  const { domain, handle } = deal
  const { subject } = market.acting
  const seen = seenOf(subject)
  const read = useSyncExternalStore(seen.subscribe, seen.get)
  const own = domain.facts().filter(({ actor }) => domain.subjectOf(actor) === subject)
  const isNews = ({ key, type, outcome }: Fact): boolean =>
    outcome.status === 'rejected' &&
    !/^bids\.(bid|counter)$/.test(type) &&
    !read.includes(`${handle.id} ${key}`)
  const waiting = own.filter(({ outcome }) => outcome.status === 'pending')
  return (
    <>
      {own.filter(isNews).map((fact) => (
        <section key={fact.key} className="notice" data-tone="bad" role="status">
          <h2>“{what(fact, domain)}” did not go through</h2>
          <p>
            {why(fact, domain)} {possible(domain)}
          </p>
          <button
            type="button"
            className="button"
            onClick={() => seen.set([`${handle.id} ${fact.key}`, ...read].slice(0, seenMax))}
          >
            OK
          </button>
        </section>
      ))}
      {waiting.length > 0 && (
        <section className="notice" data-tone="away" aria-label="Not decided yet">
          <ul>
            {waiting.map((fact) => (
              <li key={fact.key}>
                {what(fact, domain)} <Waits text={waitsFor(fact, domain)} />
              </li>
            ))}
          </ul>
        </section>
      )}
    </>
  )
}

/** Of this user: what they have read. */
function seenOf(subject: string): Stored<readonly string[]> {
  const known = seenBy.get(subject)
  if (known !== undefined) return known
  const isKeys = (value: unknown): value is readonly string[] =>
    Array.isArray(value) && value.every((key) => typeof key === 'string')
  const seen = stored<readonly string[]>(`tidemark.market.seen.${subject}`, [], isKeys)
  seenBy.set(subject, seen)
  return seen
}
