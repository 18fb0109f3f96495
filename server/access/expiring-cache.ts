/** What was found out and for how long it holds; bounded by weight (about bytes), least recently used goes first. */
interface Kept<Value> {
  readonly value: Value
  readonly endsMs: number
  readonly weight: number
}

export class ExpiringCache<Value> {
  private readonly kept = new Map<string, Kept<Value>>()
  private readonly weightMax: number
  private weight = 0

  constructor(weightMax: number) {
    this.weightMax = weightMax
  }

  get size(): number {
    return this.kept.size
  }

  get(key: string, nowMs: number): Value | undefined {
    const found = this.kept.get(key)
    if (found === undefined) return undefined
    this.remove(key, found)
    if (found.endsMs <= nowMs) return undefined
    this.add(key, found)
    return found.value
  }

  set(key: string, value: Value, endsMs: number, weight: number): void {
    const old = this.kept.get(key)
    if (old !== undefined) this.remove(key, old)
    if (weight > this.weightMax) return
    this.add(key, { value, endsMs, weight })
    for (const [eldest, kept] of this.kept) {
      if (this.weight <= this.weightMax) return
      this.remove(eldest, kept)
    }
  }

  clear(): void {
    this.kept.clear()
    this.weight = 0
  }

  private add(key: string, kept: Kept<Value>): void {
    this.kept.set(key, kept)
    this.weight += kept.weight
  }

  private remove(key: string, kept: Kept<Value>): void {
    this.kept.delete(key)
    this.weight -= kept.weight
  }
}
