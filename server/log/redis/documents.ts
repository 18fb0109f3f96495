/** Over all documents: the two sorted sets that `append` keeps (library.ts). */
import type { DocumentId } from '../../../core/document-id.ts'
import type { Change } from '../log.ts'
import { changesKey, documentsKey } from './keys.ts'
import type { Commands } from './replicated.ts'
import type { Stored } from './stored.ts'

export async function listDocuments(
  commands: Commands,
  prefix: string,
  after: string,
  countMax: number,
): Promise<readonly DocumentId[]> {
  const [from, to] = lexRange(Buffer.from(prefix), Buffer.from(after))
  const command = ['ZRANGE', documentsKey, from, to, 'BYLEX', 'LIMIT', '0', String(countMax)]
  return (await commands.command(command)) as DocumentId[]
}

/** The least and the first too large member, as Redis writes intervals: `[` includes and `(` excludes. */
function lexRange(prefix: Buffer, after: Buffer): [Buffer | string, Buffer | string] {
  const from =
    after.length > 0 && Buffer.compare(after, prefix) >= 0
      ? Buffer.concat([Buffer.from('('), after])
      : Buffer.concat([Buffer.from('['), prefix])
  if (prefix.length === 0) return [from, '+']
  const to = Buffer.concat([Buffer.from('('), prefix])
  // No byte of UTF-8 is 255.
  to[to.length - 1]! += 1
  return [from, to]
}

export async function readChanges(
  stored: Stored,
  after: number,
  countMax: number,
): Promise<readonly Change[]> {
  const flat = (await stored.call('changes', [changesKey], [String(after), String(countMax)])) as unknown[]
  const changes: Change[] = []
  for (let i = 0; i < flat.length; i += 2)
    changes.push({ document: flat[i] as DocumentId, sequence: flat[i + 1] as number })
  return changes
}
