/**
 * What waits for a person, and what for the server, in the deals of this device: values of which there are two, changes that somebody
 * proposes to what one holds, and one's own steps that nobody has decided.
 *
 * It is read from the documents themselves, so all of it works without a connection; settling is an edit like any other.
 */
import type { Acting, Done } from 'tidemark/client/domain'
import { type Deal, isSeller, type Listing } from './market.ts'
import type { Kept, OnShelf } from './shelf.ts'
import { labels, waitsFor, what } from './words.ts'

/** One of two or more versions. */
export interface Version {
  readonly value: string | number
  readonly subject: string
  /** Of the fact. */
  readonly key: string
  /** By the clock of who wrote it, ms since 1970; null: nobody knows. */
  readonly at: number | null
}

interface Common {
  /** The same as long as it is the same matter. */
  readonly id: string
  readonly document: string
  /** The deal to look at; null: no deal of this device is about it. */
  readonly deal: string | null
  readonly title: string
  readonly field: string
}

export interface Choice extends Common {
  readonly kind: 'conflict' | 'proposal'
  readonly versions: readonly [Version, Version, ...Version[]]
  /** One of the versions. */
  pick(version: Version): Done
  /** Neither of them. */
  write(value: string | number): Done
}

/** Which version, or what is written instead. */
export type Chosen = { readonly version: number } | { readonly text: string } | null

export interface Waiting extends Common {
  readonly kind: 'waiting'
  readonly what: string
  readonly waitsFor: string
}

export type Item = Choice | Waiting

export function itemsOf({ deals, listings }: Pick<OnShelf, 'deals' | 'listings'>, acting: Acting): Item[] {
  const ofListings = isSeller(acting) ? listings : []
  const choices = [
    ...ofListings.flatMap((listing) => {
      const deal = deals.find((each) => each.listing?.id === listing.id)?.id ?? null
      return conflictsIn({ document: listing.id, deal, title: titleOf(listing) }, listing)
    }),
    ...deals.flatMap((kept) =>
      holds(kept, acting) ? [...conflictsOfDeal(kept), ...proposalsIn(kept, acting)] : [],
    ),
  ]
  return [...choices, ...deals.flatMap((kept) => waitingIn(kept, acting))]
}

/** What nobody holds is every seller's. */
function holds({ deal }: Kept, acting: Acting): boolean {
  const { holder } = deal.fields.holder.value
  return holder === null ? isSeller(acting) : holder === acting.subject
}

const conflictsOfDeal = ({ id, deal, listing }: Kept): Choice[] =>
  conflictsIn({ document: id, deal: id, title: titleOf(listing) }, deal)

export const choicesIn = (items: readonly Item[]): number =>
  items.filter(({ kind }) => kind !== 'waiting').length

/** Of a listing, or of a deal. */
function conflictsIn(at: Pick<Common, 'document' | 'deal' | 'title'>, { domain }: Deal | Listing): Choice[] {
  return domain.conflicts().map(({ field, sides, settle }) => ({
    ...at,
    id: `${at.document} ${field}`,
    kind: 'conflict',
    field,
    // Both sides of a field of ours are texts or numbers.
    versions: sides as readonly Version[] as Choice['versions'],
    pick: ({ key }) => settle({ side: key }),
    write: (value) => settle({ value }),
  }))
}

function proposalsIn({ id, deal, listing }: Kept, acting: Acting): Choice[] {
  const { holder, delivery } = deal.fields
  return holder.value.proposals.flatMap(({ key, subject, type, payload }): Choice[] => {
    const field = type.slice(0, type.indexOf('.'))
    const { value, time = null } = (payload ?? {}) as { readonly value?: unknown; readonly time?: number }
    if (field !== 'delivery' || typeof value !== 'string') return []
    const present = { value: delivery.value.value ?? '', subject: acting.subject, key: '', at: null }
    return [
      {
        id: `${id} ${key}`,
        kind: 'proposal',
        document: id,
        deal: id,
        title: titleOf(listing),
        field,
        versions: [present, { value, subject, key, at: time }],
        pick(version) {
          if (version.key !== key) return holder.do.decline(key)
          const done = holder.do.takeOver(key)
          // It did not know of what the holder has written since: the holder does, and has chosen.
          const conflict = deal.domain.conflicts().find((each) => each.field === field)
          return done.refusal === null && conflict !== undefined ? conflict.settle({ side: key }) : done
        },
        write(text) {
          // First what may be refused.
          const { refusal } = delivery.do.set(String(text))
          return refusal === null ? holder.do.decline(key) : { key: null, refusal }
        },
      },
    ]
  })
}

function waitingIn({ id, deal, listing }: Kept, acting: Acting): Waiting[] {
  const { domain } = deal
  return domain
    .intents()
    .filter(({ actor }) => domain.subjectOf(actor) === acting.subject)
    .map((fact) => {
      const common = { id: `${id} ${fact.key}`, document: id, deal: id, title: titleOf(listing), field: '' }
      return { ...common, kind: 'waiting', what: what(fact, domain), waitsFor: waitsFor(fact, domain) }
    })
}

export const titleOf = (listing: Listing | null): string =>
  listing?.fields.harvest.value.value ?? 'A listing that has not come yet'

export const labelOf = ({ field }: Item): string => labels[field] ?? field
