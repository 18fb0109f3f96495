/**
 * Where chance in tests comes from: a number that is the same in every run, so that a run can be repeated and a commit fails
 * only for what it changed. `TIDEMARK_TEST_SEED` gives another one; `random` draws one, which is printed (global-setup.ts).
 *
 * Properties of fast-check get it from seed-properties.ts, all else draws from `randomOf`. Names that only have to differ from one
 * another are drawn without it.
 */
import { randomInt } from 'node:crypto'

export const seedVariable = 'TIDEMARK_TEST_SEED'

export const seed = seedOf(process.env[seedVariable])

/** Whole numbers that fast-check takes. */
export function seedOf(setting: string | undefined): number {
  if (setting === undefined || setting === '') return 1
  if (setting === 'random') return randomInt(2 ** 31)
  const given = Number(setting)
  if (!Number.isInteger(given) || Math.abs(given) >= 2 ** 31)
    throw new Error(`${seedVariable} takes a whole number of 32 bits, or random`)
  return given
}

/**
 * At least 0, below 1; the same for the same seed and stream. What runs beside other things takes a stream of its own, or
 * chance would depend on who comes first. Source: mulberry32 by Tommy Ettinger, public domain.
 */
export function randomOf(start: number, stream = 0): () => number {
  let state = (start + Math.imul(stream, 0x9e3779b1)) >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
