/**
 * The list in a folder of exported documents, `tidemark-export.ndjson`: a line for each, the last one of an id counts.
 *
 *   { id, file, format, offset, epoch, bytes, sha256 }
 *
 * Names of files are for people and for every file system; the ids are here. It also says which documents need not be fetched
 * again because nothing has changed. A line is written when its file is whole.
 */
import { isAbsolute, join, normalize } from 'node:path'
import { LineFile } from './line-file.ts'

export const exportListName = 'tidemark-export.ndjson'

export const exportFormats = ['update', 'json', 'history'] as const
export type ExportFormat = (typeof exportFormats)[number]

export interface Exported {
  readonly id: string
  /** Relative to the folder, with `/`. */
  readonly file: string
  readonly format: ExportFormat
  readonly offset: number
  readonly epoch: number
  readonly bytes: number
  readonly sha256: string
}

export class ExportList {
  private readonly lines: LineFile
  private readonly byKey = new Map<string, Exported>()

  private constructor(lines: LineFile) {
    this.lines = lines
    for (const value of lines.values)
      if (isExported(value)) this.byKey.set(keyOf(value.format, value.id), value)
  }

  static async open(folder: string): Promise<ExportList> {
    return new ExportList(await LineFile.open(join(folder, exportListName)))
  }

  static exists(folder: string): Promise<boolean> {
    return LineFile.exists(join(folder, exportListName))
  }

  get(format: ExportFormat, id: string): Exported | undefined {
    return this.byKey.get(keyOf(format, id))
  }

  values(): Exported[] {
    return [...this.byKey.values()]
  }

  async add(exported: Exported): Promise<void> {
    this.byKey.set(keyOf(exported.format, exported.id), exported)
    await this.lines.append(exported)
  }

  close(): Promise<void> {
    return this.lines.close()
  }
}

const keyOf = (format: ExportFormat, id: string): string => `${format} ${id}`

/** Lists may come from elsewhere: what they name stays inside their folder. */
function isExported(value: unknown): value is Exported {
  const { id, file, format, sha256 } = (value ?? {}) as Partial<Record<keyof Exported, unknown>>
  return (
    typeof id === 'string' &&
    typeof sha256 === 'string' &&
    exportFormats.some((known) => known === format) &&
    typeof file === 'string' &&
    !isAbsolute(file) &&
    !normalize(file).startsWith('..')
  )
}
