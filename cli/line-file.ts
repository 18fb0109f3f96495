/**
 * A file of JSON, one value a line, that is only ever appended to: what was done so far, for the next time. Whatever ends
 * the program, each line is there whole or not at all: one that was torn is passed over, and closed before the next.
 */
import { type FileHandle, open, readFile, rm } from 'node:fs/promises'

export class LineFile {
  /** Of the file as it was opened. */
  readonly values: readonly unknown[]
  private readonly path: string
  private handle: Promise<FileHandle> | null = null
  private torn: boolean
  private isEmpty: boolean

  private constructor(path: string, text: string) {
    this.path = path
    this.values = text.split('\n').flatMap(parsed)
    this.isEmpty = text === ''
    this.torn = text !== '' && !text.endsWith('\n')
  }

  /** A file that is not there has no lines, and is made with the first. */
  static async open(path: string): Promise<LineFile> {
    return new LineFile(path, (await textOf(path)) ?? '')
  }

  static async exists(path: string): Promise<boolean> {
    return (await textOf(path)) !== null
  }

  /** Rejects when nothing can be written there. The file is there then. */
  async prepare(): Promise<void> {
    this.handle ??= open(this.path, 'a')
    await this.handle
  }

  async append(value: unknown): Promise<void> {
    // Before anything is awaited: several append at the same time.
    this.handle ??= open(this.path, 'a')
    const start = this.torn ? '\n' : ''
    this.torn = false
    this.isEmpty = false
    await (await this.handle).appendFile(`${start}${JSON.stringify(value)}\n`)
  }

  /** Nothing is left of a file without lines. */
  async close(): Promise<void> {
    const { handle } = this
    this.handle = null
    await (await handle)?.close()
    if (this.isEmpty) await rm(this.path, { force: true })
  }

  async remove(): Promise<void> {
    await this.close()
    await rm(this.path, { force: true })
  }
}

async function textOf(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

function parsed(line: string): unknown[] {
  try {
    return [JSON.parse(line)]
  } catch {
    // Torn, or empty.
    return []
  }
}
