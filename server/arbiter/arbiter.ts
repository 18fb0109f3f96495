/**
 * Decides intents: of the documents in the parts that this node holds, in the order of the log.
 *
 *   fold ─▶ undecided ─▶ judge ─▶ settle (SQL, many at once) ─▶ append ─▶ the log ─▶ fold: decided
 *
 * - One intent of an entity at a time is on its way, since the next one is judged by what the first came to; entities and documents do not
 *   wait for each other.
 * - Nothing is decided twice: what was settled is what is appended, by whoever comes to it, with the same bytes; and a decision that
 *   is in the log already adds nothing.
 * - Who reads a document beside the projector may be behind it, and bring back an intent that is decided: what was settled before says
 *   nothing new to the log, so nobody would hear of it again, and the document has to be read anew.
 * - What could not be settled or appended is tried again, with what the document says by then. Nothing is lost by a death: an
 *   intent without a decision is found again by whoever takes the part.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { DocumentId } from '../../core/document-id.ts'
import type { ClaimsOf } from '../../core/domain/adapter.ts'
import { decided } from '../../core/domain/facts/author.ts'
import { type Fact, type FactKey, factsRoot } from '../../core/domain/facts/fact.ts'
import { toldClaims } from '../../core/domain/fold/claims.ts'
import type { DocumentFold } from '../../core/domain/fold/document-fold.ts'
import type { Decision } from '../../core/domain/fold/kind.ts'
import type { EngineName } from '../../core/engine/engine.ts'
import { engines } from '../../core/engine/engines.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'
import type { Logger } from '../logger.ts'
import { partOf } from '../views/parts.ts'
import { type DecisionStore, Fenced, type Judged } from './decision-store.ts'

export interface ArbiterParts {
  readonly store: Pick<DecisionStore, 'settle' | 'free'>
  /** Resolves when the update is in the document's log. */
  readonly append: (document: DocumentId, update: Uint8Array) => Promise<void>
  /** Undefined: the part is another node's. */
  readonly fenceOf: (part: number) => number | undefined
  /** False as long as there may be claims that the database does not know. */
  readonly mayClaim?: () => boolean
  readonly logger: Logger
  /** What it was seen to say may be older than what the log has: it has to be considered once more. */
  readonly onStale?: (document: DocumentId) => void
  /** They are in the log. */
  readonly onDecided?: (decided: Decided) => void
  /** Draws the number of a replica. */
  readonly draw?: () => number
}

/** Intents that were decided together, by what became of them. */
export interface Decided {
  readonly accepted: number
  /** By rules. */
  readonly rejected: number
  /** Rejected because somebody else has what they would take. */
  readonly claimed: number
  /** Settled before, by whoever died over it: the same bytes once more. */
  readonly repeated: number
  /** From when the one that waited longest was seen here. */
  readonly longestMs: number
}

/** A document as it is now. */
export interface Considered {
  readonly fold: DocumentFold
  /** Its epoch. */
  readonly lineage: number
  readonly engine: EngineName
  readonly claimsOf: ClaimsOf | null
}

interface Waiting extends Considered {
  /** By entity: the intent that is on its way. */
  readonly underWay: Map<string, FactKey>
  /** Since when each intent waits here. */
  readonly sinceMs: ReadonlyMap<FactKey, number>
}

interface JudgedHere extends Judged {
  readonly sinceMs: number
  readonly isAccepted: boolean
}

interface Writer {
  readonly replica: number
  written: number
}

const batchMax = 500
const writersMax = 10_000
const retryMsMax = 5_000

export class Arbiter {
  private readonly parts: ArbiterParts
  private readonly closing = new AbortController()
  /** Documents with intents, in the order in which they came. */
  private readonly waiting = new Map<DocumentId, Waiting>()
  private readonly writers = new Map<DocumentId, Writer>()
  private running: Promise<void> | null = null
  private failures = 0
  /** Decisions that are in the log, since the start. */
  decidedCount = 0

  constructor(parts: ArbiterParts) {
    this.parts = parts
  }

  /** Documents with intents that are not decided. */
  get size(): number {
    return this.waiting.size
  }

  /** Those. */
  get intents(): number {
    let count = 0
    for (const { sinceMs } of this.waiting.values()) count += sinceMs.size
    return count
  }

  /** The document says something new. The fold is kept as long as it has intents. */
  consider(document: DocumentId, considered: Considered): void {
    const intents = considered.fold.undecided()
    if (intents.length === 0) {
      this.waiting.delete(document)
      return
    }
    const known = this.waiting.get(document)
    if (known !== undefined && known.lineage !== considered.lineage) this.forget(document)
    const underWay = known?.underWay ?? new Map<string, FactKey>()
    const open = new Set(intents.map(({ key }) => key))
    for (const [entity, intent] of underWay) if (!open.has(intent)) underWay.delete(entity)
    const nowMs = performance.now()
    const sinceMs = new Map(intents.map(({ key }) => [key, known?.sinceMs.get(key) ?? nowMs]))
    this.waiting.set(document, { ...considered, underWay, sinceMs })
    this.run()
  }

  /** Something that kept it from deciding does so no more. */
  resume(): void {
    this.run()
  }

  /** The document is gone, or not this node's any more. */
  forget(document: DocumentId): void {
    this.waiting.delete(document)
    this.writers.delete(document)
  }

  /** Waits for what is on its way. */
  async close(): Promise<void> {
    this.closing.abort()
    await this.running
  }

  private run(): void {
    if (this.running !== null || this.closing.signal.aborted) return
    this.running = this.decideAll().finally(() => {
      this.running = null
    })
  }

  /** Until nothing is left that could be judged now. Never rejects. */
  private async decideAll(): Promise<void> {
    const { signal } = this.closing
    // What comes in the same turn goes together.
    await new Promise((resolve) => setImmediate(resolve))
    while (!signal.aborted) {
      const judged = this.judge()
      if (judged.length === 0) return
      try {
        await this.settle(judged)
        this.failures = 0
      } catch (error) {
        for (const { document, entity } of judged) {
          this.waiting.get(document)?.underWay.delete(entity)
          // What it counted may not have come to be.
          this.writers.delete(document)
        }
        if (error instanceof Fenced) {
          for (const { document } of judged) this.forget(document)
          continue
        }
        if (this.failures++ === 0) this.parts.logger.warn({ err: error }, 'intents wait to be decided')
        const waitMs = Math.min(retryMsMax, 50 * 2 ** this.failures) * (0.5 + Math.random() / 2)
        // Aborted: the end, seen by the loop.
        await sleep(waitMs, undefined, { signal }).catch(() => undefined)
      }
    }
  }

  private judge(): JudgedHere[] {
    const { mayClaim = () => true } = this.parts
    const judged: JudgedHere[] = []
    for (const [document, waiting] of this.waiting) {
      if (judged.length >= batchMax) break
      if (waiting.claimsOf !== null && !mayClaim()) continue
      if (this.parts.fenceOf(partOf(document)) === undefined) {
        this.waiting.delete(document)
        continue
      }
      judged.push(...this.judgeOne(document, waiting))
    }
    return judged
  }

  private judgeOne(document: DocumentId, waiting: Waiting): JudgedHere[] {
    const { fold, lineage, engine, claimsOf, underWay, sinceMs } = waiting
    const judged: JudgedHere[] = []
    for (const intent of fold.undecided()) {
      if (underWay.has(intent.entity)) continue
      underWay.set(intent.entity, intent.key)
      const decision = this.word(document, fold, intent)
      if (decision === null) continue
      const { entity, key } = intent
      const claims =
        decision.accepted && claimsOf !== null ? claimsOf(intent, (field) => fold.read(entity, field)) : null
      const writer = this.writerOf(document)
      const { written } = writer
      const say = (said: Decision): Uint8Array => {
        const entry = decided(fold, intent, said)
        return engines[engine].entry(factsRoot, entry.key, entry.value!, {
          replica: writer.replica,
          written,
        })
      }
      // One of them comes to be.
      writer.written++
      const told = claims === null ? {} : toldClaims(claims)
      const { takes = [], frees = [] } = told
      const isClaiming = takes.length + frees.length > 0
      judged.push({
        document,
        lineage,
        entity,
        intent: key,
        sinceMs: sinceMs.get(key) ?? performance.now(),
        isAccepted: decision.accepted,
        update: say(isClaiming ? { ...decision, claims: told } : decision),
        claims: isClaiming ? { takes, frees, refusal: say({ accepted: false, reason: 'claimed' }) } : null,
      })
    }
    return judged
  }

  /** Rules are somebody else's code. Null: it threw, and the intent stays undecided. */
  private word(document: DocumentId, fold: DocumentFold, intent: Fact): Decision | null {
    try {
      return fold.judge(intent)
    } catch (error) {
      this.parts.logger.error({ document, intent: intent.key, err: error }, 'an intent could not be judged')
      return null
    }
  }

  private async settle(judged: readonly JudgedHere[]): Promise<void> {
    const { store, append, fenceOf, onStale, onDecided } = this.parts
    const fences = new Map<number, number>()
    for (const { document } of judged) {
      const part = partOf(document)
      const fence = fenceOf(part)
      if (fence === undefined) throw new Fenced('Another node decides')
      fences.set(part, fence)
    }
    const offered = new Map(judged.map((each) => [`${each.intent} ${each.document}`, each]))
    const settled = await store.settle(judged, fences)
    const byDocument = new Map<DocumentId, { readonly update: Uint8Array; readonly own: JudgedHere }[]>()
    for (const { document, intent, update } of settled) {
      const own = offered.get(`${intent} ${document}`)!
      // What this writer counted did not come to be.
      if (becameOf(own, update) === 'repeated') this.writers.delete(document)
      byDocument.set(document, [...(byDocument.get(document) ?? []), { update, own }])
    }
    const counts = { accepted: 0, rejected: 0, claimed: 0, repeated: 0, longestMs: 0 }
    const appending = [...byDocument].map(async ([document, decisions]) => {
      try {
        for (const { update, own } of decisions) {
          // In order: each is the writer's next.
          await append(document, update)
          this.decidedCount++
          const became = becameOf(own, update)
          counts[became]++
          if (became === 'repeated') onStale?.(document)
          counts.longestMs = Math.max(counts.longestMs, performance.now() - own.sinceMs)
        }
      } catch (error) {
        this.writers.delete(document)
        if (!(error instanceof TidemarkError) || error.code !== 'document_removed') throw error
        // Meanwhile. What was claimed for it may have come to be after its claims ended.
        this.forget(document)
        await store.free(document, decisions[0]!.own.lineage)
      }
    })
    const failed = (await Promise.allSettled(appending)).find((one) => one.status === 'rejected')
    if (counts.longestMs > 0) onDecided?.(counts)
    if (failed !== undefined) throw failed.reason
  }

  private writerOf(document: DocumentId): Writer {
    let writer = this.writers.get(document)
    if (writer === undefined) {
      const { draw = () => Math.floor(Math.random() * 2 ** 32) } = this.parts
      writer = { replica: draw(), written: 0 }
      this.writers.set(document, writer)
      if (this.writers.size > writersMax)
        for (const oldest of this.writers.keys()) {
          this.writers.delete(oldest)
          break
        }
    }
    return writer
  }
}

/** `repeated`: somebody settled it before. */
function becameOf({ update, isAccepted, claims }: JudgedHere, settled: Uint8Array) {
  if (isEqual(settled, update)) return isAccepted ? 'accepted' : 'rejected'
  return isEqual(settled, claims?.refusal) ? 'claimed' : 'repeated'
}

function isEqual(one: Uint8Array, other: Uint8Array | undefined): boolean {
  return other !== undefined && Buffer.compare(one, other) === 0
}
