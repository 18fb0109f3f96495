/** What people and programs do to a document, as values that fast-check makes and shrinks. An engine reads them in its own way. */
import fc from 'fast-check'

export const operationKinds = [
  'type',
  'delete',
  'format',
  'paste',
  'map',
  'list',
  'tree',
  'nested',
  'undo',
  'fact',
] as const
export type OperationKind = (typeof operationKinds)[number]

export interface Operation {
  readonly kind: OperationKind
  /** Taken modulo whatever there is room for. */
  readonly place: number
  readonly choice: number
}

/** Mostly typing; one in eight is a fact, one in fifty a large paste. */
const weights: Readonly<Record<OperationKind, number>> = {
  type: 40,
  delete: 10,
  format: 6,
  paste: 2,
  map: 10,
  list: 10,
  tree: 5,
  nested: 5,
  undo: 4,
  fact: 14,
}

export const operations: fc.Arbitrary<Operation> = fc.record({
  kind: fc.oneof(...operationKinds.map((kind) => ({ weight: weights[kind], arbitrary: fc.constant(kind) }))),
  place: fc.nat({ max: 5_000 }),
  choice: fc.nat({ max: 5_000 }),
})
