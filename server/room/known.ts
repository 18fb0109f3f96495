/**
 * What a room knows of its document without building it: made from what the log has, kept up to date with what follows.
 *
 * As long as no update counts, the document has no engine, and may be written to by any: which one it is, is for the log to say, whose
 * first update decides (`decide`). Until then there is one `Held` for each engine that somebody tried; then only that one.
 */
import type { FactRules } from '../../core/domain/facts/door.ts'
import type { Coverage, Ended, Engine, EngineName } from '../../core/engine/engine.ts'
import { engines } from '../../core/engine/engines.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'
import { type Content, endedOf, unlimited } from '../log/lineage.ts'
import type { Lineage } from '../log/metadata.ts'
import { FactGuard } from './fact-guard.ts'

/** What updates of one engine are judged by. */
export interface Held {
  readonly engine: Engine
  readonly coverage: Coverage
  /** Null as long as no lineage of this engine has ended. */
  readonly ended: Ended | null
  /** Null for a document that holds no facts. */
  readonly facts: FactGuard | null
}

export class Known {
  readonly lineage: Lineage
  /** Null: it holds no facts. */
  readonly factRules: FactRules | null
  private decided: EngineName | null
  private readonly held = new Map<EngineName, Held>()

  /** `coverage`: of the content; null when it has no engine. */
  constructor(content: Content, coverage: Coverage | null, factRules: FactRules | null) {
    this.lineage = content.lineage
    this.factRules = factRules
    this.decided = content.engine
    if (content.engine !== null && coverage !== null)
      this.held.set(content.engine, heldOf(content, engines[content.engine], coverage, factRules))
  }

  /** The document's; null as long as it has none. */
  get engine(): EngineName | null {
    return this.decided
  }

  /** Throws `wrong_engine` when the document is of another one. */
  of(engine: EngineName): Held {
    const known = this.held.get(engine)
    if (known !== undefined) return known
    if (this.decided !== null) throw wrongEngine(this.decided, engine)
    const coverage = engines[engine].coverageOf(null)
    const facts = this.factRules === null ? null : new FactGuard(engines[engine], [], this.factRules)
    const held = { engine: engines[engine], coverage, ended: endedOf(this.lineage, engine), facts }
    this.held.set(engine, held)
    return held
  }

  /** The document's first update counts, and is of this engine. */
  decide(engine: EngineName): Held {
    const held = this.of(engine)
    this.decided = engine
    this.held.clear()
    this.held.set(engine, held)
    return held
  }
}

export function wrongEngine(engine: EngineName, asked: EngineName): TidemarkError {
  return new TidemarkError('wrong_engine', `The engine of this document is ${engine}, not ${asked}`)
}

function heldOf(
  { snapshot, entries, lineage, aside }: Content,
  engine: Engine,
  coverage: Coverage,
  factRules: FactRules | null,
): Held {
  // What was set aside and comes again is not to be taken in again.
  for (const { entry } of aside) coverage.add(engine.validate(entry.update, unlimited))
  const ended = endedOf(lineage, engine.name)
  if (factRules === null) return { engine, coverage, ended, facts: null }
  const stored = [...(snapshot === null ? [] : [snapshot.bytes]), ...entries.map(({ update }) => update)]
  return { engine, coverage, ended, facts: new FactGuard(engine, stored, factRules) }
}

/** An update of somebody else came from the log. Throws what `Engine.validate` throws. */
export function learn({ engine, coverage, facts }: Held, update: Uint8Array): void {
  coverage.add(engine.validate(update, unlimited))
  facts?.add(update)
}
