/** A whole history as a value: fast-check makes it from a seed and shrinks it; a regression is one in a file. */
import fc from 'fast-check'
import type { EngineName } from './clients/engine.ts'
import { type Operation, operations } from './operation.ts'
import { type Act, acts, type Profile } from './profiles.ts'

export interface Step {
  readonly act: Act
  /** Whose; taken modulo how many there are, as `choice` is. */
  readonly client: number
  readonly choice: number
  readonly operations: readonly Operation[]
}

export interface History {
  /** Of the document; those of before there were several have none, and are of Yjs. */
  readonly engine?: EngineName
  /** Of the network, and of everything else that is drawn while it runs. */
  readonly seed: number
  readonly steps: readonly Step[]
}

const burstMax = 25

const stepOf = (act: Act): fc.Arbitrary<Step> =>
  fc.record({
    act: fc.constant(act),
    client: fc.nat({ max: 99 }),
    choice: fc.nat({ max: 999 }),
    operations:
      act === 'edit'
        ? fc.array(operations, { minLength: 1, maxLength: 1 })
        : act === 'burst'
          ? fc.array(operations, { minLength: 2, maxLength: burstMax, size: 'max' })
          : act === 'kill-promised'
            ? fc.array(operations, { minLength: 1, maxLength: 3 })
            : fc.constant([]),
  })

export function histories({ weights, stepsMax }: Profile, engine: EngineName): fc.Arbitrary<History> {
  const possible = acts.filter((act) => weights[act] > 0)
  const step = fc.oneof(...possible.map((act) => ({ weight: weights[act], arbitrary: stepOf(act) })))
  return fc.record({
    engine: fc.constant(engine),
    seed: fc.nat({ max: 2 ** 31 - 1 }),
    steps: fc.array(step, { minLength: 1, maxLength: stepsMax, size: 'max' }),
  })
}
