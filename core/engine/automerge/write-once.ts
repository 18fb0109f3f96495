/**
 * Guards a root map whose entries are written once. An operation of Automerge's names what it is in and what it replaces, so a
 * change shows by itself whether it leaves alone what is there; of what is stored only ids are kept: of the map, and of the objects
 * that entries are made of. Strings are texts, so an entry may be many operations; all of them are in one change.
 *
 * A change that names what is not there could turn out to write into an entry once it is: it is refused. What a document that was
 * compacted builds on cannot be told, but which objects it has can.
 * Costs what the operations of a change cost to read, about 1 µs each; all of them when a room of facts opens.
 */
import { MalformedBytes } from '../../bytes.ts'
import { TidemarkError } from '../../protocol/errors.ts'
import type { Examined, Write, WriteOnce } from '../engine.ts'
import type { Value } from '../live-document.ts'
import { ChangeGraph, everyHash } from './change-graph.ts'
import { hex } from './chunk.ts'
import { type Operation, type OperationId, operationsOf, operationsOfDocument, rootId } from './operations.ts'
import { type AutomergeOutline, outlineOf } from './outline.ts'
import { rootChange } from './written-entries.ts'

/** Of a change that comes in: a few bytes can be billions, and whoever looks at them has other things to do. */
const operationsMax = 250_000

type Refused = NonNullable<Examined['refused']>

/** Of an update that is looked at. */
interface Fresh {
  readonly changes: Set<string>
  readonly objects: Set<OperationId>
  readonly guarded: Set<OperationId>
}

export class AutomergeWriteOnce implements WriteOnce {
  readonly written: readonly Write[]
  private readonly root: string
  private readonly map: OperationId
  private readonly rootHash: string
  /** Objects in the map, and in them. */
  private readonly guarded = new Set<OperationId>()
  /** All that are there. */
  private readonly objects = new Set<OperationId>([rootId])
  /** Operations that write entries: how a change is known whose hash is not, since it is in a document saved whole. */
  private readonly entryIds = new Set<OperationId>()
  private readonly graph = new ChangeGraph(null, false)
  /** Saved whole: its changes cannot be told. */
  private hasDocument = false

  constructor(root: string, updates: readonly Uint8Array[]) {
    this.root = root
    const { map, hash } = rootChange(root)
    this.map = map
    this.rootHash = hex(hash)
    try {
      this.written = updates.flatMap((update) => this.take(outlineOf(update)))
    } catch (error) {
      if (!(error instanceof MalformedBytes)) throw error
      throw new TidemarkError('document_unreadable', `Stored change: ${error.message}`, { cause: error })
    }
  }

  examine(update: Uint8Array): Examined {
    const outline = outlineOf(update)
    const writes = this.writesOf(outline)
    const accept = (): void => void this.take(outline)
    return typeof writes === 'string'
      ? { refused: writes, writes: [], accept }
      : { refused: null, writes, accept }
  }

  /** Or why it must not be stored. */
  private writesOf({ changes, documents }: AutomergeOutline): Write[] | Refused {
    // Nobody can tell which of its changes are there.
    if (documents.length > 0) return 'incomplete'
    const fresh: Fresh = { changes: new Set(), objects: new Set([this.map]), guarded: new Set() }
    const writes: Write[] = []
    for (const change of changes) {
      if (this.graph.has(change.hash)) continue
      const isThere = (dep: Uint8Array): boolean =>
        this.hasDocument || this.graph.counts(dep) || fresh.changes.has(hex(dep))
      if (!everyHash(change.deps, isThere)) return 'incomplete'
      fresh.changes.add(hex(change.hash))
      if (hex(change.hash) === this.rootHash) continue
      try {
        const reason = this.examineChange(operationsOf(change.bytes, operationsMax), fresh, writes)
        if (reason !== null) return reason
      } catch (error) {
        if (!(error instanceof MalformedBytes)) throw error
        return 'no_entry'
      }
    }
    return writes
  }

  private examineChange(operations: Iterable<Operation>, fresh: Fresh, writes: Write[]): Refused | null {
    const own = new Set<OperationId>()
    const found: Operation[] = []
    for (const operation of operations) {
      const { id, object, key, action, others } = operation
      // It is there already.
      if (this.entryIds.has(id)) return null
      if (object === rootId && key === this.root) return action === 'delete' ? 'deletes' : 'no_entry'
      if (!this.objects.has(object) && !fresh.objects.has(object)) return 'incomplete'
      if (action.startsWith('make')) fresh.objects.add(id)
      const isGuarded = this.guarded.has(object) || fresh.guarded.has(object)
      if (isGuarded) return action === 'delete' ? 'deletes' : 'rewrites'
      const isEntry = object === this.map
      if (!isEntry && !own.has(object)) continue
      if (action === 'delete') return 'deletes'
      if (others.length > 0 || action === 'increment' || action === 'mark') return 'rewrites'
      if (isEntry && (key === null || operation.inserts)) return 'no_entry'
      if (action !== 'set') own.add(id)
      found.push(operation)
    }
    writes.push(...entriesOf(this.map, found))
    for (const id of own) fresh.guarded.add(id)
    return null
  }

  private take({ changes, documents }: AutomergeOutline): Write[] {
    const writes: Write[] = []
    for (const { bytes } of documents) {
      this.hasDocument = true
      writes.push(...this.takeOperations(operationsOfDocument(bytes)))
    }
    for (const change of changes) {
      if (this.graph.has(change.hash)) continue
      this.graph.add({ changes: [change], documents: [] })
      writes.push(...this.takeOperations(operationsOf(change.bytes)))
    }
    return writes
  }

  private takeOperations(operations: Iterable<Operation>): Write[] {
    const found: Operation[] = []
    for (const operation of operations) {
      const { id, object, action } = operation
      if (action.startsWith('make')) this.objects.add(id)
      if (object === this.map) this.entryIds.add(id)
      else if (!this.guarded.has(object)) continue
      if (action.startsWith('make')) this.guarded.add(id)
      found.push(operation)
    }
    return entriesOf(this.map, found)
  }
}

/** What operations write into a map: nested values are made of operations among them. */
function entriesOf(map: OperationId, operations: readonly Operation[]): Write[] {
  const inside = new Map<OperationId, Operation[]>()
  for (const operation of operations) {
    const found = inside.get(operation.object)
    if (found === undefined) inside.set(operation.object, [operation])
    else found.push(operation)
  }
  const contentOf = ({ id, action, value }: Operation): Value => {
    const own = inside.get(id) ?? []
    if (action === 'makeMap' || action === 'makeTable')
      return Object.fromEntries(own.map((each) => [(each.key ?? '').toWellFormed(), contentOf(each)]))
    if (action === 'makeList') return inOrder(own).map(contentOf)
    if (action === 'makeText') return inOrder(own).map(contentOf).join('').toWellFormed()
    return value
  }
  return (inside.get(map) ?? [])
    .filter(({ key, action }) => key !== null && action !== 'delete')
    .map((entry) => [entry.key!, contentOf(entry)])
}

/** What inserts, each behind its element; of several behind the same one the newest comes first. */
function inOrder(operations: readonly Operation[]): Operation[] {
  const behind = new Map<OperationId | null, Operation[]>()
  for (const operation of operations) {
    const found = behind.get(operation.element)
    if (found === undefined) behind.set(operation.element, [operation])
    else found.push(operation)
  }
  for (const siblings of behind.values()) siblings.sort((a, b) => counterOf(a) - counterOf(b))
  const ordered: Operation[] = []
  const next = [...(behind.get(null) ?? [])]
  for (let operation = next.pop(); operation !== undefined; operation = next.pop()) {
    ordered.push(operation)
    next.push(...(behind.get(operation.id) ?? []))
  }
  return ordered
}

function counterOf({ id }: Operation): number {
  return Number.parseInt(id, 10)
}
