/** The laws of P4, for any fields: order, duplication and grouping of facts do not matter, at once or step by step. */
import fc from 'fast-check'
import { expect } from 'vitest'
import { DocumentFold, type FactEntry } from '../../core/domain/fold/document-fold.ts'
import type { FieldsOfDocument } from '../../core/domain/fold/fields.ts'
import { deliveries, type Play, play, steps, told } from './fact-history.ts'

export interface Laws extends Play {
  readonly runs?: number
  readonly stepsMax?: number
}

/** Prints the seed when it fails. */
export function holdsLaws({ runs = 60, stepsMax = 60, ...game }: Laws): void {
  fc.assert(
    fc.property(steps(stepsMax), fc.gen(), (history, gen) => {
      agrees(game.fields, play(history, game).entries, gen)
    }),
    { numRuns: runs },
  )
}

/** Whatever the order in which they come. */
export function agrees(
  fields: FieldsOfDocument,
  entries: readonly FactEntry[],
  gen: fc.GeneratorValue,
): void {
  const atOnce = new DocumentFold(fields)
  atOnce.apply(entries)
  const expected = told(atOnce, fields)
  const stepwise = new DocumentFold(fields)
  for (const group of gen(deliveries, entries)) {
    stepwise.apply(group)
    // Whoever looks between must not change what comes out.
    if (gen(fc.boolean)) told(stepwise, fields)
  }
  expect(told(stepwise, fields)).toEqual(expected)
}
