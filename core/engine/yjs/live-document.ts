/**
 * A Y.Doc that is kept up to date and says what each update touched. Rows depend on it, so it shows what every other
 * replica of the same updates shows (P4), and an update costs what it changes.
 *
 * - Roots stay without a kind: an update does not say one, and Yjs copies a root that is asked for as a kind. What is in
 *   a root is read from its items (state.ts).
 * - Touched is what the structs that came and the structs that were deleted are in: from each up to its root. Yjs's own
 *   events tell a list only that it changed, and every type around a change that it did, which is quadratic in nesting.
 * - Yjs tidies up formatting after remote changes with deletes of its own, and tells observers; transactions are marked
 *   local and forget what they changed, so that it does neither (see compact.ts).
 * - Yjs can leave structs waiting though what they wait for has come: it notes a part of it only. So here the first
 *   waiting struct of each client is looked at, and all are tried again once everything that one of these waits
 *   for is there. To try after every update would cost what waits each time.
 */
import * as Y from 'yjs'
import { TidemarkError } from '../../protocol/errors.ts'
import type { LiveDocument, Touched } from '../live-document.ts'
import { documentOf } from './compact.ts'
import { merge } from './splice.ts'
import { YjsState } from './state.ts'
import { holdsElements, keyOfElement } from './values.ts'

type Root = { readonly keys: Set<string>; readonly elements: Set<string> }
type Type = Y.AbstractType<unknown>

const updatesPerTransaction = 1000

export class YjsLiveDocument implements LiveDocument {
  readonly state: YjsState
  private readonly document: Y.Doc
  private readonly names = new Map<unknown, string>()
  private waiting: { readonly update: Uint8Array; readonly fronts: readonly Y.ID[][] } | null = null

  constructor(updates: readonly Uint8Array[]) {
    this.document = documentOf(updates)
    this.integrate(new Map(), () => undefined)
    this.state = new YjsState(this.document)
  }

  apply(updates: readonly Uint8Array[]): Touched {
    const touched = new Map<string, Root>()
    for (let i = 0; i < updates.length; i += updatesPerTransaction) {
      const part = updates.slice(i, i + updatesPerTransaction)
      const update = part.length === 1 ? part[0]! : merge(part)
      this.integrate(touched, () => Y.applyUpdate(this.document, update))
    }
    return touched
  }

  close(): void {
    this.document.destroy()
  }

  private integrate(touched: Map<string, Root>, apply: () => void): void {
    try {
      this.document.transact((transaction) => {
        apply()
        this.applyWaiting()
        this.collect(transaction, touched)
        transaction.local = true
        transaction.changed.clear()
      })
    } catch (error) {
      if (error instanceof TidemarkError) throw error
      throw new TidemarkError('document_unreadable', 'Yjs cannot read the stored updates', { cause: error })
    }
  }

  private applyWaiting(): void {
    const { store } = this.document
    for (let pending = store.pendingStructs; pending !== null; pending = store.pendingStructs) {
      const { update } = pending
      if (this.waiting?.update !== update) this.waiting = { update, fronts: frontsOf(update) }
      const isThere = ({ client, clock }: Y.ID): boolean => clock < Y.getState(store, client)
      if (!this.waiting.fronts.some((needed) => needed.every(isThere))) return
      store.pendingStructs = null
      Y.applyUpdateV2(this.document, update)
    }
    this.waiting = null
  }

  /** Before the transaction ends: then items are joined, and deleted content is dropped. */
  private collect({ beforeState, deleteSet }: Y.Transaction, touched: Map<string, Root>): void {
    const { clients } = this.document.store
    const tops = new Map<Type, Y.Item | null>()
    const touch = (item: Y.Item): void => {
      const top = topOf(item, tops)
      if (top === null) return
      const { keys, elements } = this.rootOf(top, touched)
      if (top.parentSub !== null) keys.add(top.parentSub)
      else if (holdsElements(top))
        for (let i = 0; i < top.length; i++) elements.add(keyOfElement(top.id.client, top.id.clock + i))
    }
    const each = (structs: readonly (Y.Item | Y.GC)[], from: number, to: number): void => {
      for (let i = Y.findIndexSS(structs as Y.Item[], from); i < structs.length; i++) {
        const struct = structs[i]!
        if (struct.id.clock >= to) return
        if (struct instanceof Y.Item) touch(struct)
      }
    }

    for (const [client, structs] of clients) {
      const from = beforeState.get(client) ?? 0
      if (from < Y.getState(this.document.store, client)) each(structs, from, Number.POSITIVE_INFINITY)
    }
    for (const [client, deletes] of deleteSet.clients) {
      const structs = clients.get(client)
      if (structs !== undefined) for (const { clock, len } of deletes) each(structs, clock, clock + len)
    }
  }

  private rootOf({ parent }: Y.Item, touched: Map<string, Root>): Root {
    if (!this.names.has(parent)) for (const [name, root] of this.document.share) this.names.set(root, name)
    const name = this.names.get(parent)!
    const root = touched.get(name) ?? { keys: new Set(), elements: new Set() }
    touched.set(name, root)
    return root
  }
}

/** The item that stands in a root and holds this one, or is it; null for what is in nothing any more. */
function topOf(item: Y.Item, tops: Map<Type, Y.Item | null>): Y.Item | null {
  const passed: Type[] = []
  let top: Y.Item | null = item
  while (top !== null) {
    const parent: unknown = top.parent
    if (!(parent instanceof Y.AbstractType)) top = null
    else if (parent._item === null) break
    else {
      const known = tops.get(parent)
      passed.push(parent)
      top = known === undefined ? parent._item : known
      if (known !== undefined) break
    }
  }
  for (const type of passed) tops.set(type, top)
  return top
}

/** What the first struct of each client waits for: the one before it, its neighbours, what it is in. */
function frontsOf(update: Uint8Array): Y.ID[][] {
  const fronts = new Map<number, Y.ID[]>()
  for (const struct of Y.decodeUpdateV2(update).structs) {
    const { client, clock } = struct.id
    if (struct instanceof Y.Skip || fronts.has(client)) continue
    const needed = clock > 0 ? [Y.createID(client, clock - 1)] : []
    if (struct instanceof Y.Item) {
      const { origin, rightOrigin, parent } = struct
      for (const id of [origin, rightOrigin, parent]) if (id instanceof Y.ID) needed.push(id)
    }
    fronts.set(client, needed)
  }
  return [...fronts.values()]
}
