/**
 * Lets the relay's thread go first where both want a core: rows may be some milliseconds later, acknowledgements may not.
 *
 * Linux gives each thread a niceness of its own, which threads that it starts inherit (PGlite's, say); elsewhere nothing
 * happens. See setpriority(2), "C library/kernel differences".
 */
import { readlinkSync } from 'node:fs'
import { setPriority } from 'node:os'
import { basename } from 'node:path'

const niceness = 10

/** Of the thread that calls it. */
export function yieldToRelay(): void {
  try {
    setPriority(Number(basename(readlinkSync('/proc/thread-self'))), niceness)
  } catch {
    // No Linux, or a system that does not allow it: they share as threads do.
  }
}
