/**
 * A document in WebAssembly that is kept up to date and says what each update touched, told by the patches between what was
 * there and what is: one changed key is one patch, whatever the document's size. A patch names places in a list, and what is no
 * more at its place is to be named as well: see list-keys.ts. A root that is another object now is touched as a whole. Concurrent values
 * that are not chosen are in no patch: keys that changes write are touched as well.
 */
import { TidemarkError } from '../../protocol/errors.ts'
import type { LiveDocument, Touched } from '../live-document.ts'
import { applyTo, handleOf } from './compact.ts'
import { type Edit, ListKeys } from './list-keys.ts'
import { type Operation, operationsOf, rootId } from './operations.ts'
import { AutomergeState } from './state.ts'
import { isObject } from './values.ts'
import { type Handle, release } from './wasm.ts'
import { WrittenKeys } from './written-keys.ts'

type Root = { readonly keys: Set<string>; readonly elements: Set<string> }
type Patch = ReturnType<Handle['diff']>[number]
type RootObject = { readonly type: string; readonly id: string } | null

export class AutomergeLiveDocument implements LiveDocument {
  readonly state: AutomergeState
  private readonly handle: Handle
  private readonly written: WrittenKeys
  private readonly lists: ListKeys

  constructor(updates: readonly Uint8Array[]) {
    this.handle = handleOf(updates)
    this.written = new WrittenKeys(this.handle)
    this.lists = new ListKeys(this.handle)
    this.state = new AutomergeState(this.handle, this.written, this.lists)
  }

  apply(updates: readonly Uint8Array[]): Touched {
    const { handle } = this
    const before = handle.getHeads()
    applyTo(handle, updates)
    try {
      const touched = this.touchedBy(handle.diff(before, handle.getHeads()), before)
      const places = new Map<string, readonly unknown[]>()
      for (const chunk of handle.getChanges(before))
        for (const operation of operationsOf(chunk)) {
          this.written.add(operation)
          this.touchUnchosen(touched, operation, places)
        }
      return touched
    } catch (error) {
      throw new TidemarkError('document_unreadable', 'Automerge cannot tell what has changed', {
        cause: error,
      })
    }
  }

  close(): void {
    release(this.handle)
  }

  private touchedBy(patches: readonly Patch[], before: string[]): Map<string, Root> {
    const byRoot = new Map<string, Patch[]>()
    for (const patch of patches) {
      const name = String(patch.path[0])
      const found = byRoot.get(name)
      if (found === undefined) byRoot.set(name, [patch])
      else found.push(patch)
    }
    const touched = new Map<string, Root>()
    for (const [name, own] of byRoot) touched.set(name, this.touchedIn(name, own, before))
    return touched
  }

  /**
   * Of several concurrent values, only the one that is chosen is in patches; what others become is told by the changes. `places`:
   * by object, what `placeOf` said.
   */
  private touchUnchosen(
    touched: Map<string, Root>,
    { object, key }: Operation,
    places: Map<string, readonly unknown[]>,
  ): void {
    const place = places.get(object) ?? this.placeOf(object)
    places.set(object, place)
    const [name, within = key] = place
    if (name === undefined || within === null) return
    const root = touched.get(String(name)) ?? { keys: new Set(), elements: new Set() }
    root.keys.add(String(within))
    touched.set(String(name), root)
  }

  /** The name of the root map that an object is, or is in, and the key there; nothing for what is in no root map. */
  private placeOf(object: string): readonly unknown[] {
    const path = object === rootId ? [] : (this.handle.objInfo(object).path ?? [])
    return path.length > 0 && isMap(this.rootAt(String(path[0]))) ? path : []
  }

  private touchedIn(name: string, patches: readonly Patch[], before: string[]): Root {
    const was = this.rootAt(name, before)
    const is = this.rootAt(name)
    const root: Root = { keys: new Set(), elements: new Set() }
    if (was?.id !== is?.id) {
      this.touchAll(was, root, before)
      this.touchAll(is, root)
    } else if (is?.type === 'list') this.touchElements(is.id, patches, root.elements, before)
    else if (isMap(is)) for (const { path } of patches) if (path.length > 1) root.keys.add(String(path[1]))
    return root
  }

  private touchAll(object: RootObject, { keys, elements }: Root, heads?: string[]): void {
    if (isMap(object)) for (const key of this.handle.keys(object.id, heads)) keys.add(key)
    if (object?.type !== 'list') return
    const all = heads === undefined ? this.lists.of(object.id) : this.lists.before(object.id, heads)
    for (const key of all) elements.add(key)
  }

  private touchElements(
    list: string,
    patches: readonly Patch[],
    touched: Set<string>,
    before: string[],
  ): void {
    const edits = patches.flatMap((patch) => editOf(patch) ?? [])
    for (const key of this.lists.edit(list, this.lists.before(list, before), edits)) touched.add(key)
    const keys = this.lists.of(list)
    for (const { path } of patches) {
      const key = path.length > 2 ? keys[Number(path[1])] : undefined
      if (key !== undefined) touched.add(key)
    }
  }

  private rootAt(name: string, heads?: string[]): RootObject {
    const found = this.handle.getWithType('_root', name, heads) as readonly [string, unknown] | null
    return found !== null && isObject(found[0]) ? { type: found[0], id: found[1] as string } : null
  }
}

const isMap = (object: RootObject): object is NonNullable<RootObject> =>
  object?.type === 'map' || object?.type === 'table'

/** What a patch does to the elements of a root list themselves. */
function editOf(patch: Patch): Edit | null {
  if (patch.path.length !== 2) return null
  const place = Number(patch.path[1])
  switch (patch.action) {
    case 'insert':
      return { kind: 'insert', place, count: patch.values.length }
    case 'del':
      return { kind: 'delete', place, count: patch.length ?? 1 }
    case 'put':
    case 'inc':
    case 'conflict':
      return { kind: 'replace', place }
    default:
      return null
  }
}
