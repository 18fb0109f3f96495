/**
 * Holds the house together: which folder may import which, and what each may touch. Every rule is a
 * line of `rules`; each has a planted violation below, so that a rule that never fires is noticed.
 *
 * The source is read as text, comments removed. Import cycles are Biome's (`noImportCycles`).
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { basename, dirname, join, normalize, relative } from 'node:path'
import { describe, expect, test } from 'vitest'

type Source = Readonly<{ path: string; text: string }>
type Rule = Readonly<{ says: string; isBrokenBy(source: Source): boolean }>

const root = join(import.meta.dirname, '..')
const house = ['core', 'client', 'server', 'cli']
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  dependencies: Record<string, string>
  peerDependencies: Record<string, string>
}

const rules: readonly Rule[] = [
  {
    says: 'core imports nothing of ours outside core',
    isBrokenBy: (source) => isIn('core', source) && foldersOf(source).some((folder) => folder !== 'core'),
  },
  {
    says: 'client imports nothing of ours but core',
    isBrokenBy: (source) => isIn('client', source) && !foldersOf(source).every(isOneOf('core', 'client')),
  },
  {
    says: 'server imports nothing of ours but core',
    isBrokenBy: (source) => isIn('server', source) && !foldersOf(source).every(isOneOf('core', 'server')),
  },
  {
    says: 'cli imports nothing of ours but core',
    isBrokenBy: (source) => isIn('cli', source) && !foldersOf(source).every(isOneOf('core', 'cli')),
  },
  {
    says: 'only core/engine and the client import Yjs and Automerge',
    isBrokenBy: (source) =>
      !isIn('core/engine', source) &&
      !isIn('client', source) &&
      importsOf(source).some((name) => /^(yjs|@automerge)(\/|$)/.test(name)),
  },
  {
    says: 'core imports no Node module',
    isBrokenBy: (source) => isIn('core', source) && importsOf(source).some((name) => isBuiltin(name)),
  },
  {
    says: 'core has no timers',
    isBrokenBy: (source) =>
      isIn('core', source) &&
      /\b(setTimeout|setInterval|setImmediate|queueMicrotask|nextTick)\b/.test(source.text),
  },
  {
    says: 'core is given clock and randomness',
    isBrokenBy: (source) =>
      isIn('core', source) && /\b(Date\.now|new Date\(\)|performance\.now|Math\.random)\b/.test(source.text),
  },
  {
    says: 'only server/config.ts reads the environment',
    isBrokenBy: (source) =>
      source.path !== 'server/config.ts' &&
      /\bprocess\s*\.\s*env\b|\benv\b.*'node:process'/.test(source.text),
  },
  {
    says: 'what the product imports is a runtime dependency, or the app has it',
    isBrokenBy: (source) =>
      importsOf(source)
        .filter((name) => !name.startsWith('.') && !isBuiltin(name))
        .some(
          (name) =>
            !(packageOf(name) in manifest.dependencies) && !(packageOf(name) in manifest.peerDependencies),
        ),
  },
]

const planted: Readonly<Record<string, Source>> = {
  'core imports nothing of ours outside core': plant(
    'core/offset.ts',
    "import { x } from '../server/log/log.ts'",
  ),
  'client imports nothing of ours but core': plant('client/a.ts', "export { x } from '../server/main.ts'"),
  'server imports nothing of ours but core': plant(
    'server/room/a.ts',
    "import type { X } from '../../client/a.ts'",
  ),
  'cli imports nothing of ours but core': plant('cli/a.ts', "import type { X } from '../server/log/log.ts'"),
  'only core/engine and the client import Yjs and Automerge': plant(
    'server/a.ts',
    "const Y = await import('yjs')",
  ),
  'core imports no Node module': plant('core/domain/a.ts', "import { Buffer } from 'buffer'"),
  'core has no timers': plant('core/a.ts', 'setTimeout(f, 1)'),
  'core is given clock and randomness': plant('core/a.ts', 'const at = Date.now()'),
  'only server/config.ts reads the environment': plant('server/main.ts', "process.env['PORT']"),
  'what the product imports is a runtime dependency, or the app has it': plant(
    'server/a.ts',
    "import fc from 'fast-check'",
  ),
}

describe('the direction of imports', () => {
  const sources = house.flatMap((folder) => filesUnder(folder, /\.ts$/)).map(read)

  test.each(rules.map((rule) => [rule.says, rule] as const))('%s', (_, rule) => {
    expect(sources.length).toBeGreaterThan(0)
    expect(sources.filter((source) => rule.isBrokenBy(source)).map(({ path }) => path)).toEqual([])
  })

  test.each(rules.map((rule) => [rule.says, rule] as const))('a planted violation is seen: %s', (_, rule) => {
    const violation = planted[rule.says]
    expect(violation && rule.isBrokenBy(violation)).toBe(true)
  })
})

test('every runtime dependency is named under Dependencies in ARCHITECTURE.md', () => {
  const text = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8')
  const section = /^## Dependencies\n(.*?)(?=^## |$(?![\s\S]))/ms.exec(text)?.[1] ?? ''
  const unnamed = Object.keys(manifest.dependencies).filter((name) => !section.includes(`\`${name}\``))
  expect(unnamed).toEqual([])
})

describe('no file names a folder of the machine it was written on', () => {
  const machinePath = /(?<![\w.}~)/-])\/(work|root|home\/\w+|Users\/\w+|tmp)(?=\/\w|['"`\s)])/
  const text = /\.(ts|mjs|js|json|md|yaml|yml|html|css|sql|lua|sh)$|^[^.]*$|^\.[^.]*$/

  test('as they stand', () => {
    const files = filesUnder('.', text).filter((path) => path !== 'package-lock.json')
    expect(files).toContain('test/architecture.test.ts')
    expect(files.filter((path) => machinePath.test(read(path).text))).toEqual([])
  })

  test('a planted one is seen, an address or a relative path is not', () => {
    const path = ['', 'work', 'main'].join('/')
    expect(machinePath.test(`cd ${path}`)).toBe(true)
    expect(machinePath.test(`'${['', 'tmp', 'x'].join('/')}'`)).toBe(true)
    expect(machinePath.test(`https://example.org${path} .${path} a${path}`)).toBe(false)
  })
})

function importsOf({ text }: Source): string[] {
  // Statements stand at the start of a line: `Buffer.from('x')` and SQL in a string are not imports.
  const pattern =
    /^(?:(?:import|export)\b[^'"]*\bfrom|import)\s*(['"])([^'"\n]+)\1|\bimport\(\s*(['"])([^'"\n]+)\3/gm
  return [...text.matchAll(pattern)].map(([, , name, , dynamic]) => name ?? dynamic ?? '')
}

/** The top folders that its relative imports reach. */
function foldersOf(source: Source): string[] {
  return importsOf(source)
    .filter((name) => name.startsWith('.'))
    .map((name) => normalize(join(dirname(source.path), name)).split('/')[0] ?? '')
}

function packageOf(name: string): string {
  return name
    .split('/')
    .slice(0, name.startsWith('@') ? 2 : 1)
    .join('/')
}

function isIn(folder: string, { path }: Source): boolean {
  return path.startsWith(`${folder}/`)
}

function isOneOf(...folders: readonly string[]): (folder: string) => boolean {
  return (folder) => folders.includes(folder)
}

function plant(path: string, text: string): Source {
  return { path, text }
}

function read(path: string): Source {
  const text = readFileSync(join(root, path), 'utf8')
  return { path, text: path.endsWith('.ts') && isHouse(path) ? withoutComments(text) : text }
}

function isHouse(path: string): boolean {
  return house.includes(path.split('/')[0] ?? '')
}

/** Good enough for rules about names: a comment mark inside a string hides at most the rest of its line. */
function withoutComments(text: string): string {
  return text.replace(/^\s*\/\*[\s\S]*?\*\//gm, '').replace(/(?<=^|\s)\/\/.*$/gm, '')
}

/** Walks the folders rather than asking git, which a machine with only Node need not have. */
function filesUnder(folder: string, name: RegExp): string[] {
  const generated = /(^|\/)node_modules$|^(dist|data|coverage|\.git|\.build-.*)$|^bench\/results/
  if (!existsSync(join(root, folder))) return []
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = relative(root, join(root, folder, entry.name))
    if (generated.test(path)) return []
    if (entry.isDirectory()) return filesUnder(path, name)
    return entry.isFile() && name.test(basename(path)) ? [path] : []
  })
}
