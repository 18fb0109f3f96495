/**
 * The deals that this device keeps, open, with their listings: so that all of them are there without a connection, and the inbox
 * knows what waits in them.
 *
 * Which they are the server says (a live query), and this device remembers: the newest `keptMax`, and all others in which something waits
 * for a person (`tidemark.conflicts`, `tidemark.intents`; docs/domain.md).
 */
import type { Client, LiveListener, LiveState } from 'tidemark/client'
import { type Acting, type Domain, openDomain } from 'tidemark/client/domain'
import { type Stored, stored } from '../../editor/src/stored.ts'
import { deals } from '../adapters/fields/deals.ts'
import { listings } from '../adapters/fields/listings.ts'
import type { Deal, Listing } from './market.ts'

const keptMax = 50
const documentsSql = `
  select document from (select document from deals order by document desc limit ${keptMax}) as newest
  union select document from tidemark.conflicts where adapter in ('deals', 'listings')
  union select document from tidemark.intents where waits_for = 'holder' and holder = $1`

export interface Kept {
  readonly id: string
  readonly deal: Deal
  /** Null: it has not come yet. */
  readonly listing: (Listing & { readonly id: string }) | null
}

/** A new one at each change. */
export interface OnShelf {
  /** Newest first. */
  readonly deals: readonly Kept[]
  readonly listings: readonly (Listing & { readonly id: string })[]
  readonly connection: 'live' | 'opening' | 'away' | 'refused'
  /** Changes made here that the server does not have. */
  readonly pending: number
  /** Of the list of deals. */
  readonly list: LiveState
  /** Why the server does not say which deals there are; null: it does, or it is not reached. */
  readonly refusal: string | null
}

export class Shelf {
  private readonly client: Client
  private readonly acting: Acting
  private readonly ids: Stored<readonly string[]>
  private readonly deals = new Map<string, Deal>()
  private readonly listings = new Map<string, Listing>()
  private readonly listeners = new Set<() => void>()
  private list: LiveState = 'connecting'
  private refusal: string | null = null
  /** The server answers, and its views do not yet. */
  private isStarting = false
  private isTold = true
  private current: OnShelf

  constructor(client: Client, acting: Acting) {
    this.client = client
    this.acting = acting
    this.ids = stored<readonly string[]>(`tidemark.market.deals.${acting.subject}`, [], isIds)
    this.current = this.look()
    for (const id of this.ids.get()) this.keep(id)
    client.on('status', this.change)
    void this.follow()
  }

  readonly snapshot = (): OnShelf => this.current

  readonly subscribe = (changed: () => void): (() => void) => {
    this.listeners.add(changed)
    return () => this.listeners.delete(changed)
  }

  /** From now on, on this device. */
  keep(id: string): Deal {
    const kept = this.deals.get(id)
    if (kept !== undefined) return kept
    const deal = this.open(id, deals)
    this.deals.set(id, deal)
    if (!this.ids.get().includes(id)) this.ids.set([id, ...this.ids.get()].sort().reverse().slice(0, keptMax))
    return deal
  }

  keepListing(id: string): Listing {
    const kept = this.listings.get(id)
    if (kept !== undefined) return kept
    const listing = this.open(id, listings)
    this.listings.set(id, listing)
    return listing
  }

  private open<Of extends typeof deals | typeof listings>(id: string, definition: Of) {
    const handle = this.client.open(id)
    const domain = openDomain(handle, definition, this.acting) as Domain<Of>
    domain.on('change', this.change)
    for (const event of ['loaded', 'pending', 'reset'] as const) handle.on(event, this.change)
    return { handle, domain, fields: domain.fields }
  }

  private async follow(): Promise<void> {
    const listener: LiveListener<{ document: string }> = ({ rows, state, error }) => {
      for (const { document } of rows)
        if (document.startsWith('deals/')) this.keep(document)
        else this.keepListing(document)
      this.list = state
      this.isStarting = state !== 'live' && error?.code === 'views_unavailable'
      this.refusal = state === 'refused' ? (error?.message ?? 'the server did not say why') : null
      this.change()
    }
    await this.client.live(documentsSql, [this.acting.subject], listener, { key: ['document'] })
  }

  /** Many changes in one turn are told once. */
  private readonly change = (): void => {
    if (!this.isTold) return
    this.isTold = false
    queueMicrotask(() => {
      this.isTold = true
      for (const { fields } of this.deals.values())
        if (fields.listing.value !== null) this.keepListing(fields.listing.value)
      this.current = this.look()
      for (const listener of [...this.listeners]) listener()
    })
  }

  private look(): OnShelf {
    const listings = [...this.listings].flatMap(([id, open]) =>
      open.fields.harvest.value.value === null ? [] : [{ id, ...open }],
    )
    const deals = [...this.deals]
      .filter(([, { handle }]) => handle.loaded)
      .sort(([a], [b]) => (a < b ? 1 : -1))
      .map(([id, deal]) => {
        const listing = listings.find(({ id }) => id === deal.fields.listing.value) ?? null
        // A new object, since something in it may be different.
        return { id, deal: { ...deal }, listing }
      })
    const open = [...this.deals.values(), ...this.listings.values()]
    return {
      deals,
      listings,
      connection: this.connection(open.length === 0),
      pending: open.reduce((sum, { handle }) => sum + handle.pending, 0),
      list: this.list,
      refusal: this.refusal,
    }
  }

  /** That of the documents; as long as there are none, that of their list. */
  private connection(isEmpty: boolean): OnShelf['connection'] {
    const { status, error, paused } = this.client
    const state = isEmpty ? this.list : status
    if (state === 'live' || state === 'refused') return state
    // After a failure this is one attempt of many.
    const isFirst = isEmpty
      ? state === 'connecting' || (this.isStarting && !paused)
      : state !== 'offline' && error === null
    return isFirst ? 'opening' : 'away'
  }
}

const isIds = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every((id) => typeof id === 'string')
