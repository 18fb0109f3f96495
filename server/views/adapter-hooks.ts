/**
 * How modules are found and read while adapters are loaded; Node runs this in a thread of its own (`module.register`).
 *
 * - `tidemark/adapter` and `tidemark/fields` are of this copy of Tidemark, whether or not it is installed where the adapter is.
 * - TypeScript has its types replaced by spaces, so lines and columns stay, and nothing is checked. Node does the
 *   same from 22.18 on; this makes all versions take the same. What is more than types (enum) is refused with its place.
 * - What an adapter imports and is not there is said with the line that imports it. `./x.js` may be `./x.ts`.
 */
import { access, readFile } from 'node:fs/promises'
import type { InitializeHook, LoadHook, ResolveHook } from 'node:module'
import { fileURLToPath } from 'node:url'

export interface HooksData {
  /** URLs of modules, by what they are imported as. */
  readonly own: Readonly<Record<string, string>>
  /** URL of the folder whose modules are loaded, with a slash at its end. */
  readonly folder: string
}

let own: HooksData['own'] = {}
const folders = new Set<string>()

export const initialize: InitializeHook<HooksData> = (data) => {
  own = data.own
  folders.add(data.folder)
}

export const resolve: ResolveHook = async (specifier, context, next) => {
  const parent = context.parentURL ?? ''
  const url = own[specifier]
  if (url !== undefined) return { url, shortCircuit: true }
  if (![...folders].some((folder) => parent.startsWith(folder))) return next(specifier, context)
  try {
    return await next(specifier, context)
  } catch (error) {
    const source = await sourceOf(specifier, parent)
    if (source !== null) return next(source, context)
    const why = error instanceof Error ? error.message : String(error)
    throw new Error(`${await placeOf(specifier, fileURLToPath(parent))}: ${why}`, { cause: error })
  }
}

export const load: LoadHook = async (url, context, next) => {
  if (!/^file:.*\.m?ts$/.test(url) || url.includes('/node_modules/')) return next(url, context)
  const path = fileURLToPath(url)
  const { transformSync } = await import('@swc/wasm-typescript')
  try {
    const { code } = transformSync(await readFile(path, 'utf8'), { mode: 'strip-only', module: true })
    return { format: 'module', source: code, shortCircuit: true }
  } catch (error) {
    throw new Error(describe(error, path), { cause: error })
  }
}

/** What `./x.js` means in TypeScript that has no such file, if there is one. */
async function sourceOf(specifier: string, parent: string): Promise<string | null> {
  if (!/^\.\.?\/.*\.m?js$/.test(specifier)) return null
  const source = specifier.replace(/js$/, 'ts')
  return await access(new URL(source, parent)).then(
    () => source,
    () => null,
  )
}

async function placeOf(specifier: string, path: string): Promise<string> {
  const lines = (await readFile(path, 'utf8')).split('\n')
  const index = lines.findIndex((line) => line.includes(`'${specifier}'`) || line.includes(`"${specifier}"`))
  return index < 0 ? path : `${path}:${index + 1}`
}

/** The compiler throws plain objects. */
function describe(error: unknown, path: string): string {
  if (error instanceof Error) return `${path}: ${error.message}`
  const { message, startLine, startColumn } = error as {
    message?: string
    startLine?: number
    startColumn?: number
  }
  return `${path}:${startLine ?? 1}:${(startColumn ?? 0) + 1}: ${message ?? 'it cannot be parsed'}`
}
