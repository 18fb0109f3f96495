/**
 * A writing session of 259,778 single-character edits, made by a seeded generator, in the shape of the
 * automerge-paper trace (B4 of crdt-benchmarks): 182,315 insertions and 77,463 deletions that leave
 * 104,852 characters. The public recording itself is in no package that could be a dependency here.
 *
 * What is the same: the number of edits of each kind, the final length, and, by choice of the odds of
 * a jump, how far the document is fragmented: Yjs encodes the result in about the 159,929 bytes that
 * crdt-benchmarks reports for the recording. What is not: the text, and the order of the jumps.
 *
 * Bursts of typing and of backspaces take turns; between two bursts the cursor may jump, mostly
 * nearby, sometimes anywhere, sometimes to the end. Each edit is one update of a real Y.Doc.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import * as Y from 'yjs'
import { readUpdates, writeUpdates } from './update-file.ts'

const insertions = 182_315
const deletions = 77_463
const typingBurst = 64
const erasingBurst = 27.2
const jumpOdds = 0.25
const client = 1_871_234_567

export interface EditTrace {
  readonly updates: readonly Buffer[]
  readonly text: string
}

function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** Calls back with each edit: the position, and the character to insert or null to delete one there. */
export function generateEdits(edit: (position: number, character: string | null) => void): void {
  const random = randomFrom(4)
  const burst = (mean: number) => 1 + Math.floor(-Math.log(1 - random()) * (mean - 0.5))
  const letters = 'eeeettaaooiinnsshhrrddllu  cmwfgypbvk,.\n'
  let toInsert = insertions
  let toDelete = deletions
  let length = 0
  let cursor = 0
  while (toInsert + toDelete > 0) {
    if (random() < jumpOdds) {
      const far = random()
      if (far < 0.6) cursor += Math.round((random() - 0.5) * 400)
      else if (far < 0.8) cursor = length
      else cursor = Math.floor(random() * (length + 1))
      cursor = Math.max(0, Math.min(length, cursor))
    }
    const erasing = toDelete / erasingBurst / (toDelete / erasingBurst + toInsert / typingBurst)
    if (toInsert === 0 || (cursor > 0 && random() < erasing)) {
      if (cursor === 0) cursor = length
      for (let left = Math.min(burst(erasingBurst), toDelete, cursor); left > 0; left--) {
        edit(--cursor, null)
        length--
        toDelete--
      }
    } else {
      for (let left = Math.min(burst(typingBurst), toInsert); left > 0; left--) {
        edit(cursor++, letters[Math.floor(random() * letters.length)]!)
        length++
        toInsert--
      }
    }
  }
}

export interface WrittenTrace {
  readonly edits: number
  /** What the engine itself makes of it. */
  readonly engineBytes: number
  readonly characters: number
  /** State vectors, base64; the second is of all edits and those in `path`.more. */
  readonly version: string
  readonly versionWithMore: string
}

/** As many as a tail holds before it is compacted. */
const moreCount = 950

/** Writes the trace, or its beginning, to `path`, its final text to `path`.txt, and what is typed on after it to `path`.more. */
export function writeEditTrace(path: string, editsMax = Number.POSITIVE_INFINITY): WrittenTrace {
  const document = new Y.Doc()
  document.clientID = client
  const updates: Uint8Array[] = []
  document.on('update', (update: Uint8Array) => updates.push(update))
  const text = document.getText('text')
  generateEdits((position, character) => {
    if (updates.length >= editsMax) return
    if (character === null) text.delete(position, 1)
    else text.insert(position, character)
  })
  writeUpdates(path, updates)
  const final = text.toString()
  writeFileSync(`${path}.txt`, final)
  const version = () => Buffer.from(Y.encodeStateVector(document)).toString('base64')
  const written = {
    edits: updates.length,
    engineBytes: Y.encodeStateAsUpdate(document).length,
    characters: final.length,
    version: version(),
  }
  const from = updates.length
  for (let i = 0; i < moreCount; i++) text.insert((i * 7919) % text.length, 'x')
  writeUpdates(`${path}.more`, updates.slice(from))
  return {
    ...written,
    versionWithMore: version(),
  }
}

export function readEditTrace(path: string): EditTrace {
  return { updates: readUpdates(path), text: readFileSync(`${path}.txt`, 'utf8') }
}
