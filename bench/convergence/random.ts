/** Randomness from a seed, so that the network of a history fails in the same way again. */

export interface Random {
  /** At least 0, below 1. */
  next(): number
  /** A whole number from 0 to below `bound`. */
  below(bound: number): number
  chance(share: number): boolean
}

/** Source: mulberry32 by Tommy Ettinger, public domain. */
export function randomOf(seed: number): Random {
  let state = seed | 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  return { next, below: (bound) => Math.floor(next() * bound), chance: (share) => next() < share }
}
