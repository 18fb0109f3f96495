/**
 * The database of y-websocket's server (YPERSISTENCE), as y-leveldb 0.1 and 0.2 write it:
 *
 *   key    = element*
 *   element = 0 varString | 1 uint32BE
 *   ['v1', name, 'update', clock] -> one update, in the order of `clock`
 *   ['v1', name, 'meta', key], ['v1_sv', name] -> not needed here: the updates say it all
 *
 * Keys of one document stand together, so names are found by passing over the rest of each.
 */
import { resolve } from 'node:path'
import type { ClassicLevel } from 'classic-level'
import { filesIn, openPrivateView } from './private-view.ts'
import { type Source, SourceError } from './source.ts'

type Database = ClassicLevel<Uint8Array, Uint8Array>

const first = Uint8Array.of(0, 2, 0x76, 0x31)
const end = Uint8Array.of(0, 2, 0x76, 0x32)
const update = elementOf('update')
/** After whatever may follow a name: elements begin with 0 or 1. */
const afterAll = Uint8Array.of(0xff)

export async function openYLevelDb(path: string): Promise<Source> {
  const folder = resolve(path)
  const files = await filesIn(folder)
  // Tables are written once; the rest is appended to, or replaced.
  const isTable = (file: string): boolean => /\.(ldb|sst)$/.test(file)
  const isNeeded = (file: string): boolean => /(^|[\\/])(CURRENT|MANIFEST-\d+|\d+\.log)$/.test(file)
  const view = await openPrivateView({
    linked: files.filter(isTable),
    copied: files.filter(isNeeded),
    watched: async () => (await filesIn(folder)).filter((file) => isTable(file) || isNeeded(file)),
  })
  const { ClassicLevel } = await import('classic-level')
  const database: Database = new ClassicLevel(view.folder, {
    keyEncoding: 'view',
    valueEncoding: 'view',
    createIfMissing: false,
  })
  try {
    await database.open()
  } catch (error) {
    await view.close()
    throw new SourceError(`LevelDB cannot open it: ${causeOf(error)}`, { cause: error })
  }
  return {
    kind: 'y-leveldb',
    async count() {
      let names = 0
      for await (const _ of namesIn(database)) names++
      return names
    },
    async *documents() {
      for await (const name of namesIn(database)) yield { name, read: () => updatesOf(database, name) }
    },
    hasChanged: view.hasChanged,
    async close() {
      await database.close()
      await view.close()
    },
  }
}

async function* namesIn(database: Database): AsyncGenerator<string> {
  const keys = database.keys({ gte: first, lt: end })
  try {
    for (let key = await keys.next(); key !== undefined; key = await keys.next()) {
      const { name, bytes } = nameIn(key)
      yield name
      keys.seek(joined(bytes, afterAll))
    }
  } finally {
    await keys.close()
  }
}

async function updatesOf(database: Database, name: string): Promise<Uint8Array[]> {
  const before = joined(first, elementOf(name), update)
  try {
    return await database.values({ gt: before, lt: joined(before, afterAll) }).all()
  } catch (error) {
    throw new SourceError(`LevelDB cannot read it: ${causeOf(error)}`, { cause: error })
  }
}

/** The name in a key, and the bytes of the key up to its end. */
function nameIn(key: Uint8Array): { readonly name: string; readonly bytes: Uint8Array } {
  let position = first.length
  if (key[position++] !== 0) throw new SourceError('Its keys are not those of y-leveldb')
  let length = 0
  for (let shift = 1; ; shift *= 128) {
    const byte = key[position++]
    if (byte === undefined || position > first.length + 5)
      throw new SourceError('Its keys are not those of y-leveldb')
    length += (byte & 0x7f) * shift
    if (byte < 0x80) break
  }
  const bytes = key.slice(0, position + length)
  return { name: new TextDecoder().decode(bytes.subarray(position)), bytes }
}

function elementOf(text: string): Uint8Array {
  const bytes = new TextEncoder().encode(text)
  const length: number[] = []
  let rest = bytes.length
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) length.push(0x80 | (rest % 128))
  return joined(Uint8Array.of(0, ...length, rest), bytes)
}

function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return Buffer.concat(parts)
}

/** LevelDB's own words are in the cause. */
function causeOf(error: unknown): string {
  const { message, cause } = error as Error
  return cause instanceof Error ? cause.message : message
}
