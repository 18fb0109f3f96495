/** Percentiles of latencies without keeping each, and medians of runs. */

const bucketMs = 0.01
const bucketCount = 500_000

/** Latencies up to 5 s in steps of 10 µs; what is longer counts as 5 s. */
export class Latencies {
  private readonly buckets = new Uint32Array(bucketCount)
  private count = 0

  add(milliseconds: number, times = 1): void {
    const bucket = Math.min(bucketCount - 1, Math.max(0, Math.floor(milliseconds / bucketMs)))
    this.buckets[bucket]! += times
    this.count += times
  }

  reset(): void {
    this.buckets.fill(0)
    this.count = 0
  }

  /** Upper edge of the bucket in which the fraction is reached. */
  quantile(fraction: number): number {
    let left = Math.ceil(this.count * fraction)
    for (let bucket = 0; bucket < bucketCount; bucket++) {
      left -= this.buckets[bucket]!
      if (left <= 0) return (bucket + 1) * bucketMs
    }
    return bucketCount * bucketMs
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

export function spread(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) }
}
