/**
 * What waits for a person, and what for the server, in the deals of this device: values of which there are two, changes that somebody
 * proposes to what one holds, and one's own steps that nobody has decided.
 *
 * It is read from the documents themselves, so all of it works without a connection; settling is an edit like any other.
 */
import type { Acting, Done, FieldHandle } from 'tidemark/client/domain'
import type { MultiValue, multiValue } from 'tidemark/fields'
import { isSeller } from './market.ts'
import type { Kept } from './shelf.ts'
import { labels, waitsFor, what } from './words.ts'

/** One of two or more versions. */
export interface Version {
  readonly value: string | number
  readonly subject: string
  /** Of the fact. */
  readonly key: string
}

interface Common {
  /** The same as long as it is the same matter. */
  readonly id: string
  readonly document: string
  /** The deal to look at. */
  readonly deal: string
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

export function itemsOf(kept: readonly Kept[], acting: Acting): Item[] {
  const items = kept.flatMap((each) => [
    ...conflictsIn(each, acting),
    ...proposalsIn(each, acting),
    ...waitingIn(each, acting),
  ])
  // A listing may be in several deals.
  const byId = new Map(items.map((item) => [item.id, item]))
  const all = [...byId.values()]
  return [...all.filter(({ kind }) => kind !== 'waiting'), ...all.filter(({ kind }) => kind === 'waiting')]
}

export const choicesIn = (items: readonly Item[]): number =>
  items.filter(({ kind }) => kind !== 'waiting').length

type Values =
  | FieldHandle<ReturnType<typeof multiValue<string>>>
  | FieldHandle<ReturnType<typeof multiValue<number>>>

function conflictsIn({ id, deal, listing }: Kept, acting: Acting): Choice[] {
  const title = titleOf(listing)
  const items: Choice[] = []
  const look = (document: string, field: string, handle: Values): void => {
    const sides = (handle.value as MultiValue<string | number>).conflict
    if (sides === null) return
    const settle = handle.do.settle as (value: string | number) => Done
    items.push({
      id: `${document} ${field} conflict`,
      kind: 'conflict',
      document,
      deal: id,
      title,
      field,
      versions: sides as readonly Version[] as Choice['versions'],
      pick: ({ value }) => settle(value),
      write: settle,
    })
  }
  if (listing !== null && isSeller(acting))
    for (const field of ['harvest', 'asking', 'storage'] as const)
      look(listing.id, field, listing.fields[field])
  const { holder } = deal.fields.holder.value
  if (holder === acting.subject || (holder === null && isSeller(acting)))
    look(id, 'delivery', deal.fields.delivery)
  return items
}

function proposalsIn({ id, deal, listing }: Kept, acting: Acting): Choice[] {
  const { holder, delivery } = deal.fields
  if (holder.value.holder !== acting.subject) return []
  return holder.value.proposals.flatMap(({ key, subject, type, payload }): Choice[] => {
    const field = type.slice(0, type.indexOf('.'))
    const value = (payload as { readonly value?: unknown } | null)?.value
    if (field !== 'delivery' || typeof value !== 'string') return []
    const present: Version = { value: delivery.value.value ?? '', subject: acting.subject, key: '' }
    return [
      {
        id: `${id} ${key}`,
        kind: 'proposal',
        document: id,
        deal: id,
        title: titleOf(listing),
        field,
        versions: [present, { value, subject, key }],
        pick: (version) => (version.key === key ? holder.do.takeOver(key) : holder.do.decline(key)),
        write(text) {
          const done = holder.do.decline(key)
          return done.refusal === null ? delivery.do.set(String(text)) : done
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

export const titleOf = (listing: Kept['listing']): string =>
  listing?.fields.harvest.value.value ?? 'A listing that has not come yet'

export const labelOf = ({ field }: Item): string => labels[field] ?? field
