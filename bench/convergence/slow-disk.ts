/**
 * Disks that now and then take up to 50 ms longer for a write. Nobody may have been promised what it is about: a kill takes it, or
 * takes whoever waits to hear of it.
 *
 *   embedded log   the write itself begins later
 *   redis-server   it syncs before it answers (`appendfsync always`), and serves nobody meanwhile: whatever it says, to whichever relay,
 *                  is held back until the disk is done. It is the answers that are held, on the relays' lines: the
 *                  operating system has the write by then, as it has while a disk syncs.
 */
import type { Random } from './random.ts'

const share = 0.3
const slowMs = { min: 10, max: 50 }

/** One for all lines to a redis-server. */
export class RedisDisk {
  private readonly random: Random
  private busyUntilMs = 0

  constructor(random: Random) {
    this.random = random
  }

  /** Until when what it says at `nowMs` is held back. */
  readonly heldUntilMs = (nowMs: number): number => {
    if (nowMs >= this.busyUntilMs && this.random.next() < share)
      this.busyUntilMs = nowMs + slowMs.min + this.random.next() * (slowMs.max - slowMs.min)
    return this.busyUntilMs
  }
}

/** To be loaded by a relay before anything else. */
export const slowWrites = `
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
const { write } = fs
fs.write = (file, ...rest) => {
  const longerMs = ${slowMs.min} + Math.random() * ${slowMs.max - slowMs.min}
  if (file > 2 && Math.random() < ${share}) setTimeout(() => write(file, ...rest), longerMs)
  else write(file, ...rest)
}
syncBuiltinESMExports()
`
