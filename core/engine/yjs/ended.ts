/**
 * Tells what belongs to deleted lineages by client ids alone. A client's clocks have no gap: whoever holds or
 * sends a struct of a client that the ended lineage knew, at whatever clock, has that client's first struct
 * from there, and in a later lineage it could only stay pending for ever. The same holds for a delete.
 * So the clocks of the versions need not be kept, and one lookup a range suffices.
 *
 * The price: a client id must not be used again on purpose. A program that seeds a document with a fixed id
 * cannot seed it a second time after it was deleted; Yjs draws a new id for every Y.Doc.
 */
import { TidemarkError } from '../../protocol/errors.ts'
import type { Ended } from '../engine.ts'
import type { YjsOutline } from './scan.ts'
import { readVersion, type Version } from './version.ts'

export function endedOf(versions: readonly Uint8Array[]): Ended {
  const clients = new Set<number>()
  for (const version of versions) {
    for (const [client, clock] of storedVersion(version)) if (clock > 0) clients.add(client)
  }
  return {
    holds: ({ structs, deletes }: YjsOutline) =>
      clients.size > 0 && (names(structs, clients) || names(deletes, clients)),
    seenBy(version) {
      for (const [client, clock] of readVersion(version)) if (clock > 0 && clients.has(client)) return true
      return false
    },
  }
}

function names(triples: YjsOutline['structs'], clients: ReadonlySet<number>): boolean {
  for (let i = 0; i < triples.length; i += 3) if (clients.has(triples[i]!)) return true
  return false
}

/** The versions come from our own log. */
function storedVersion(version: Uint8Array): Version {
  try {
    return readVersion(version)
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error
    throw new TidemarkError('document_unreadable', `Stored version: ${error.message}`, { cause: error })
  }
}
