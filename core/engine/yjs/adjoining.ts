/**
 * Updates that continue each other, as fewer: what somebody types in one turn differs in little but its characters.
 *
 *   01 structs client clock struct… 00            the next one's clock is where this one ends
 *   01 structs client clock struct… 00
 *   01 Σstructs client clock struct… struct… 00   both
 *
 * Whoever applies it comes to the same as with one after the other, in one transaction. Only whole updates of one client without
 * Skips and deletes are joined, and only with the one right before; all others stay the bytes they are, in their places. Each is read to
 * its end first, whoever let it in: one that only looks as if it ended in an empty delete set would spoil those beside it.
 *
 * Unlike `merge` it compares nothing and keeps nothing: a tenth of its time, for what is sent at once and to many.
 */
import { ByteWriter, MalformedBytes } from '../../bytes.ts'
import { StructScanner, skipInfo } from './struct-scanner.ts'

/** Of one that is joined: larger ones have little to save. */
const updateBytesMax = 256
/** In one: by then what is still saved with each more is next to nothing. */
const updatesMax = 32

/** The structs of one update. */
interface Run {
  readonly update: Uint8Array
  readonly client: number
  readonly clock: number
  /** Clock after the last. */
  readonly end: number
  readonly structs: number
  /** Where they begin; one byte follows them. */
  readonly start: number
}

export function joinAdjoining(updates: readonly Uint8Array[]): readonly Uint8Array[] {
  if (updates.length < 2) return updates
  const joined: Uint8Array[] = []
  let open: Run[] = []
  const close = (): void => {
    if (open.length > 0) joined.push(open.length === 1 ? open[0]!.update : written(open))
    open = []
  }
  for (const update of updates) {
    const run = runOf(update)
    const last = open.at(-1)
    if (run === null || last?.client !== run.client || last.end !== run.clock || open.length === updatesMax)
      close()
    if (run === null) joined.push(update)
    else open.push(run)
  }
  close()
  return joined
}

/** Null for what is not joined. */
function runOf(update: Uint8Array): Run | null {
  if (update.length > updateBytesMax) return null
  const scanner = new StructScanner(update)
  try {
    if (scanner.varUint() !== 1) return null
    const structs = scanner.varUint()
    const client = scanner.varUint()
    const clock = scanner.varUint()
    const start = scanner.position
    let end = clock
    for (let left = structs; left > 0; left--) {
      end += scanner.struct(client, end)
      if (scanner.info === skipInfo) return null
    }
    if (structs === 0 || scanner.uint8() !== 0 || scanner.remaining > 0) return null
    return { update, client, clock, end, structs, start }
  } catch (error) {
    if (!(error instanceof MalformedBytes)) throw error
    return null
  }
}

function written(runs: readonly Run[]): Uint8Array {
  let structs = 0
  let bytes = 0
  for (const run of runs) {
    structs += run.structs
    bytes += run.update.length
  }
  const { client, clock } = runs[0]!
  const writer = new ByteWriter(bytes + 8).varUint(1).varUint(structs).varUint(client).varUint(clock)
  for (const { update, start } of runs) writer.raw(update.subarray(start, update.length - 1))
  return writer.uint8(0).finish()
}
