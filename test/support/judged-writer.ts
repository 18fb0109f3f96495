/** A `FactWriter` that also decides as the judges of its kinds would, or as a test says. */
import type { FactKey } from '../../core/domain/facts/fact.ts'
import type { Outcome } from '../../core/domain/facts/outcome.ts'
import type { FactEntry } from '../../core/domain/fold/document-fold.ts'
import type { FieldsOfDocument } from '../../core/domain/fold/fields.ts'
import type { Decision, Person } from '../../core/domain/fold/kind.ts'
import { FactWriter } from './fact-writer.ts'

export class JudgedWriter extends FactWriter {
  private readonly fields: FieldsOfDocument

  constructor(fields: FieldsOfDocument, actor: string, ...known: readonly FactEntry[]) {
    super(fields, actor)
    this.fields = fields
    this.learn(known)
  }

  judge(intent: FactKey, person?: Person): Decision {
    const fact = this.fold.fact(intent)!
    return this.fields.fields[fact.type.split('.')[0]!]!.judge!(this.fold, fact, person)
  }

  settle(intent: FactKey, decision = this.judge(intent)): FactKey {
    return this.decide(intent, () => decision)
  }

  outcome(key: FactKey): Outcome {
    return this.fold.fact(key)!.outcome
  }
}
