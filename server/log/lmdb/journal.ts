/**
 * The journal in front of LMDB: makes appends durable in groups, with one write at a time.
 *
 *   append → open group → sealed → write (O_DSYNC) → durable: tell `onDurable`, in LSN order
 *                                        ↘ failed: tell `onFailed` with every group not yet durable
 *
 * What arrives while a write is in flight goes into the next one; the first write starts at the end
 * of the event loop's turn. LMDB alone cost 11 µs of CPU per append and 8 ms at 500 in flight; a
 * write here costs 0.13 ms, and a group shares it.
 *
 * After a failed write nothing is known about the bytes it covered, and a later sync that succeeds
 * proves nothing about them. So the segment is given up, its groups are refused, and a new segment goes on
 * with the same LSN, which makes whatever survived dead (see segment.ts). Until the new segment
 * has taken a probe write, `unavailable` says why; it is tried again with backoff.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { Group } from './group.ts'
import type { EmbeddedLogLimits, Step } from './limits.ts'
import { recordHeaderBytes, sealRecord } from './record.ts'
import type { Segment } from './segment.ts'
import type { SegmentPool } from './segment-pool.ts'
import type { Slab, Slabs } from './slabs.ts'

export interface JournalListener {
  onDurable(group: Group): void
  onFailed(groups: readonly Group[], error: Error): void
}

/** A segment that is full, given up or left by an earlier run. */
export interface PastSegment {
  readonly path: string
  readonly lastLsn: number
}

export class Journal {
  unavailable: string | null = null
  durableLsn = 0
  /** Of all records since the start, with those recovered. */
  durableBytes = 0
  groupEntriesLast = 0
  syncMsLast = 0
  private readonly pool: SegmentPool
  private readonly slabs: Slabs
  private readonly limits: EmbeddedLogLimits
  private readonly listener: JournalListener
  private readonly step: Step
  private readonly aborter = new AbortController()
  private readonly past: PastSegment[] = []
  private segment: Segment | null = null
  private slab: Slab | null = null
  private slabPosition = 0
  private open: Group | null = null
  private sealed: Group[] = []
  private inFlight: Group | null = null
  private serial = 0
  private scheduled = false
  private idle: (() => void) | null = null
  private recovering: Promise<void> | null = null

  constructor(
    pool: SegmentPool,
    slabs: Slabs,
    limits: EmbeddedLogLimits,
    listener: JournalListener,
    step: Step,
  ) {
    this.pool = pool
    this.slabs = slabs
    this.limits = limits
    this.listener = listener
    this.step = step
  }

  get segments(): number {
    return this.past.length + (this.segment === null ? 0 : 1)
  }

  async start(durableLsn: number, durableBytes: number, past: readonly PastSegment[]): Promise<void> {
    this.durableLsn = durableLsn
    this.durableBytes = durableBytes
    this.past.push(...past)
    await this.switchTo(await this.pool.take())
    void this.pool.prepare()
  }

  /** The group that takes the next entries, with room for `bytes` of them. They must be added at once. */
  groupFor(bytes: number): Group {
    const open = this.open
    if (open !== null && open.end + bytes <= open.slab.buffer.length) return open
    if (open !== null) this.seal(open)
    const needed = recordHeaderBytes + bytes
    if (this.slab === null || this.slabPosition + needed > this.slab.buffer.length) {
      this.slab = this.slabs.add(Buffer.allocUnsafeSlow(Math.max(this.limits.slabBytes, needed)))
      this.slabPosition = 0
    }
    this.open = new Group(this.slab, this.slabPosition, ++this.serial)
    if (!this.scheduled && this.inFlight === null) {
      this.scheduled = true
      setImmediate(() => {
        this.scheduled = false
        this.pump()
      })
    }
    return this.open
  }

  private seal(group: Group): void {
    this.sealed.push(group)
    this.slabPosition = group.end
    this.open = null
  }

  private pump(): void {
    if (this.inFlight !== null || this.recovering !== null) return
    if (this.sealed.length === 0 && this.open !== null) this.seal(this.open)
    const group = this.sealed.shift()
    if (group === undefined) {
      this.idle?.()
      return
    }
    this.inFlight = group
    // Only duplicates of pushes that were in flight: durable, now that those are.
    if (group.count === 0) setImmediate(() => this.durable(group))
    else this.write(group)
  }

  private write(group: Group): void {
    const segment = this.segment
    if (segment === null || !segment.fits(group.bytes)) {
      this.rotate(group).catch((error: Error) => this.fail(error))
      return
    }
    const lsn = this.durableLsn + 1
    const started = performance.now()
    try {
      this.step('append.write')
      sealRecord(group.slab.buffer, group.start, group.end, segment.seed, lsn, group.count)
    } catch (error) {
      this.fail(error as Error)
      return
    }
    segment.write(group.slab.buffer, group.start, group.bytes, (error) => {
      this.syncMsLast = performance.now() - started
      if (error !== null) {
        this.fail(error)
        return
      }
      try {
        this.step('append.written')
      } catch (thrown) {
        this.fail(thrown as Error)
        return
      }
      this.durableLsn = segment.lastLsn = group.slab.lastLsn = group.lsn = lsn
      this.durableBytes += group.bytes
      this.durable(group)
    })
  }

  /** The next write starts before this one is told of: the disk works while we do. */
  private durable(group: Group): void {
    this.inFlight = null
    group.slab.pending--
    this.groupEntriesLast = group.count
    this.pump()
    this.listener.onDurable(group)
  }

  private async rotate(group: Group): Promise<void> {
    const next = await this.pool.take()
    await this.switchTo(next)
    void this.pool.prepare()
    this.step('rotate.switched')
    this.write(group)
  }

  private async switchTo(next: Segment): Promise<void> {
    const left = this.segment
    next.lastLsn = this.durableLsn
    this.segment = next
    if (left === null) return
    this.past.push({ path: left.path, lastLsn: left.lastLsn })
    await left.close()
  }

  private fail(error: Error): void {
    this.unavailable = `journal: ${error.message}`
    const groups = [...(this.inFlight === null ? [] : [this.inFlight]), ...this.sealed]
    if (this.open !== null) groups.push(this.open)
    for (const group of groups) group.slab.pending--
    this.inFlight = this.open = null
    this.sealed = []
    this.slab = null
    this.recovering = this.recover()
    this.listener.onFailed(groups, error)
    this.idle?.()
  }

  private async recover(): Promise<void> {
    const { signal } = this.aborter
    let pauseMs = this.limits.retryMs
    while (!signal.aborted) {
      try {
        const next = await this.pool.take()
        await this.switchTo(next)
        await next.probe()
        break
      } catch (error) {
        this.unavailable = `journal: ${(error as Error).message}`
      }
      await delay(pauseMs * (0.5 + Math.random()), undefined, { signal }).catch(() => {
        // Aborted: the loop ends at its next check.
      })
      pauseMs = Math.min(pauseMs * 2, this.limits.retryMsMax)
    }
    if (signal.aborted) return
    this.unavailable = null
    this.recovering = null
    void this.pool.prepare()
    this.pump()
  }

  /** Frees segments and slabs that hold nothing past `lsn`, oldest first. */
  async trim(lsn: number): Promise<void> {
    this.slabs.release(lsn, this.slab)
    for (let oldest = this.past[0]; oldest !== undefined && oldest.lastLsn <= lsn; oldest = this.past[0]) {
      await this.pool.retire(oldest.path)
      this.past.shift()
      this.step('checkpoint.trimmed')
    }
  }

  /** Resolves when nothing waits for the disk any more. */
  async flush(): Promise<void> {
    if (this.recovering === null && (this.inFlight !== null || this.open !== null || this.sealed.length > 0))
      await new Promise<void>((resolve) => {
        this.idle = resolve
      })
  }

  async close(): Promise<void> {
    this.aborter.abort()
    await this.recovering
    await this.pool.close()
    await this.segment?.close()
    this.segment = null
  }
}
