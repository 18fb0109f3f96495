/**
 * The name of a document's file: its path, in what every file system takes and people can read.
 *
 * - A segment keeps letters, digits and `-_.,+@=`, space inside; everything else is percent-encoded, so no id leaves the
 *   folder. Names that Windows keeps for devices get an underscore behind them.
 * - A segment that is too long, and a file that another id has got (`A` and `a` are one to some file systems), gets a part
 *   of its id's hash. The list (export-list.ts) knows whose it is.
 */
import { createHash } from 'node:crypto'
import type { ExportFormat } from './export-list.ts'

/** 255 is usual; encrypting file systems have less, and the ending comes behind. */
const segmentCharactersMax = 120
const hashCharacters = 16

export class ExportFiles {
  private readonly taken = new Map<string, string>()

  constructor(known: Iterable<{ readonly file: string; readonly id: string }> = []) {
    for (const { file, id } of known) this.taken.set(file.toLowerCase(), id)
  }

  /** Relative, with `/`. */
  take(id: string, ending: string): string {
    const path = id.split('/').map(segmentOf).join('/')
    const file = `${path}${ending}`
    const owner = this.taken.get(file.toLowerCase())
    const free = owner === undefined || owner === id ? file : `${path}~${hashOf(id)}${ending}`
    this.taken.set(free.toLowerCase(), id)
    return free
  }
}

export const endingOf = (format: ExportFormat, isAutomerge: boolean): string =>
  format === 'json' ? '.json' : format === 'history' ? '.history.ndjson' : isAutomerge ? '.automerge' : '.yjs'

function segmentOf(segment: string): string {
  const safe = encodeURIComponent(segment)
    .replace(/[!'()*~]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%20', ' ')
    .replaceAll('%2C', ',')
    .replaceAll('%2B', '+')
    .replaceAll('%40', '@')
    .replaceAll('%3D', '=')
    .replace(/^ | $|^\.|\.$/g, (sign) => (sign === ' ' ? '%20' : '%2E'))
    .replace(/^(con|prn|aux|nul|com\d|lpt\d)(?=$|\.)/i, '$1_')
  return safe.length <= segmentCharactersMax
    ? safe
    : `${safe.slice(0, segmentCharactersMax - hashCharacters - 1).replace(/%.?$/, '')}~${hashOf(segment)}`
}

const hashOf = (text: string): string =>
  createHash('sha256').update(text).digest('hex').slice(0, hashCharacters)
