/**
 * Stands before the log of a document that holds facts: what comes in is written once, by whom it belongs to, in order, and
 * nothing that is there is touched. It knows entries and whose they are, and builds no document.
 *
 * What it has admitted counts as there at once, since the next update may build on it. When an append fails, it has admitted what
 * is not there: then the room is closed, and the next one reads the log anew.
 */
import { type Author, FactDoor, type FactRules } from '../../core/domain/facts/door.ts'
import { factsRoot } from '../../core/domain/facts/fact.ts'
import type { Engine, WriteOnce } from '../../core/engine/engine.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'

const why = {
  rewrites: 'It writes over a fact; facts are written once',
  deletes: 'It deletes a fact; facts stay',
  no_entry: 'It puts something that is no fact among the facts',
}

/** What it builds on is not there. Once that has come it may be taken. */
export class TooEarly extends TidemarkError {}

export class FactGuard {
  private readonly entries: WriteOnce
  private readonly door: FactDoor

  /** `stored`: all updates of the document that count. */
  constructor(engine: Engine, stored: readonly Uint8Array[], rules: FactRules) {
    this.entries = engine.writeOnce(factsRoot, stored)
    this.door = new FactDoor(this.entries.written, rules)
  }

  /** Throws `fact_refused`, and `update_incomplete`, as `TooEarly` where that is why. `author` null: the server itself. The update is validated. */
  admit(update: Uint8Array, author: Author | null): void {
    const examined = this.entries.examine(update)
    if (examined.refused === 'incomplete')
      throw new TooEarly('update_incomplete', 'The update builds on what the document does not have')
    if (examined.refused !== null) throw new TidemarkError('fact_refused', why[examined.refused])
    const refusal = this.door.enter(examined.writes, author, Date.now())
    if (refusal !== null) {
      const refused = refusal.reason === 'out_of_order' ? TooEarly : TidemarkError
      throw new refused('fact_refused', refusal.message)
    }
    examined.accept()
  }

  /** It came from the log. */
  add(update: Uint8Array): void {
    const { writes, accept } = this.entries.examine(update)
    this.door.add(writes)
    accept()
  }
}
