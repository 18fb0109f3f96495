/** A `FactWriter` that also decides as the judges of its kinds would, or as a test says. */
import type { FactKey } from '../../core/domain/facts/fact.ts'
import type { Outcome } from '../../core/domain/facts/outcome.ts'
import type { FactEntry } from '../../core/domain/fold/document-fold.ts'
import type { FieldsOfDocument } from '../../core/domain/fold/fields.ts'
import type { Decision } from '../../core/domain/fold/kind.ts'
import { FactWriter } from './fact-writer.ts'

export class JudgedWriter extends FactWriter {
  constructor(fields: FieldsOfDocument, actor: string, ...known: readonly FactEntry[]) {
    super(fields, actor)
    this.learn(known)
  }

  judge(intent: FactKey): Decision {
    return this.fold.judge(this.fold.fact(intent)!)!
  }

  settle(intent: FactKey, decision = this.judge(intent)): FactKey {
    return this.decide(intent, () => decision)
  }

  outcome(key: FactKey): Outcome {
    return this.fold.fact(key)!.outcome
  }
}
