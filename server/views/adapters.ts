/**
 * Loads every adapter of a folder, once, at the start. All of them or none: what is wrong with one is said with its file and
 * line, in one sentence, and the relay can stop before it has taken anything in.
 *
 * - Files directly in the folder: .ts, .mts, .js, .mjs. Not those that begin with `_` or `.`, tests, and declarations; and
 *   folders within are for what adapters import. A file exports one adapter or more, under any names.
 * - Without the folder there are no adapters.
 * - Adapters are code of whoever runs the relay, with all that its process may do. They are not confined.
 */
import { readdir, readFile } from 'node:fs/promises'
import { register } from 'node:module'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { type Adapter, isAdapter } from '../../core/domain/adapter.ts'
import type { HooksData } from './adapter-hooks.ts'

/** The message begins with the file, and the line and column where they are known. */
export class AdapterLoadError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'AdapterLoadError'
  }
}

/** A module may wait for something before it is ready. */
const moduleLoadMsMax = 20_000
const adaptersMax = 1000

// Sources run from TypeScript (in tests) use the compiled hooks.
const built = new URL(import.meta.url.endsWith('.ts') ? '../../dist/server/views/' : './', import.meta.url)

/** In the order of their files. Throws `AdapterLoadError`. */
export async function loadAdapters(folder: string): Promise<readonly Adapter[]> {
  const absolute = resolve(folder)
  const files = await filesIn(absolute)
  if (files.length === 0) return []
  const data: HooksData = {
    own: {
      'tidemark/adapter': new URL('../../core/domain/index.js', built).href,
      'tidemark/fields': new URL('../../core/domain/kinds/index.js', built).href,
    },
    folder: `${pathToFileURL(absolute).href}/`,
  }
  register(new URL('adapter-hooks.js', built), { data })
  const found = new Map<Adapter, string>()
  for (const file of files) {
    const path = join(absolute, file)
    const adapters = Object.values(await load(path, absolute)).filter(isAdapter)
    if (adapters.length === 0)
      throw new AdapterLoadError(
        `${path}: exports no adapter. What adapters import goes into a folder beside them, or begins with _`,
      )
    // One that is exported twice is one.
    for (const adapter of adapters) if (!found.has(adapter)) add(found, adapter, path)
  }
  return [...found.keys()]
}

async function filesIn(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true })
    return entries
      .filter((entry) => !entry.isDirectory())
      .map(({ name }) => name)
      .filter((name) => /^[^_.].*\.m?[jt]s$/.test(name) && !/\.(test|spec|d)\.m?[jt]s$/.test(name))
      .sort()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw new AdapterLoadError(`${folder}: ${(error as Error).message}`, { cause: error })
  }
}

async function load(path: string, folder: string): Promise<Record<string, unknown>> {
  const timer = new AbortController()
  const tooLong = sleep(moduleLoadMsMax, null, { signal: timer.signal }).then(
    () => {
      throw new AdapterLoadError(`${path}: was not ready after ${moduleLoadMsMax} ms`)
    },
    // Aborted: it was ready.
    () => ({}),
  )
  try {
    const module = import(pathToFileURL(path).href) as Promise<Record<string, unknown>>
    return await Promise.race([module, tooLong])
  } catch (error) {
    if (error instanceof AdapterLoadError) throw error
    const place = placeOf(error, folder) ?? (await syntaxErrorIn(path, error)) ?? path
    const message = error instanceof Error ? error.message : String(error)
    const said = message.startsWith(`${place}: `) ? message : `${place}: ${message}`
    throw new AdapterLoadError(said, { cause: error })
  } finally {
    timer.abort()
  }
}

/** Node does not say of a module where its syntax is wrong. */
async function syntaxErrorIn(path: string, error: unknown): Promise<string | null> {
  if (!(error instanceof SyntaxError)) return null
  try {
    const { transformSync } = await import('@swc/wasm-typescript')
    transformSync(await readFile(path, 'utf8'), { module: true })
    return null
  } catch (thrown) {
    const line: unknown = (thrown as { startLine?: unknown } | undefined)?.startLine
    return typeof line === 'number' ? `${path}:${line}` : null
  }
}

/** The first line of its stack that is in the folder: file, line and column. */
function placeOf(error: unknown, folder: string): string | null {
  const stack = (error instanceof Error && error.stack) || ''
  for (const line of stack.split('\n'))
    for (const prefix of [`${pathToFileURL(folder).href}/`, join(folder, '/')]) {
      const start = line.indexOf(prefix)
      if (start < 0) continue
      const [, file, place] = /^(.*?\.m?[jt]s)((?::\d+)*)/.exec(line.slice(start + prefix.length)) ?? []
      if (file === undefined) continue
      return join(folder, prefix.startsWith('file:') ? decodeURIComponent(file) : file) + place
    }
  return null
}

function add(found: Map<Adapter, string>, adapter: Adapter, path: string): void {
  if (found.size >= adaptersMax) throw new AdapterLoadError(`${path}: more than ${adaptersMax} adapters`)
  for (const [other, otherPath] of found) {
    if (other.name === adapter.name)
      throw new AdapterLoadError(`${path}: an adapter named "${adapter.name}" is in ${otherPath} already`)
    const table = adapter.tables.find((each) => other.tables.includes(each))
    if (table !== undefined)
      throw new AdapterLoadError(
        `${path}: makes a table "${table}", and so does the adapter "${other.name}" in ${otherPath}`,
      )
  }
  found.set(adapter, path)
}
