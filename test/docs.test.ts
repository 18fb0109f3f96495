/**
 * Keeps the guides true: the settings, metrics and errors of docs/operations.md are those of the code, the
 * example of README.md runs as it stands, and links lead to what exists.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { errorTable } from '../core/protocol/errors.ts'
import { ConfigError, readConfig } from '../server/config.ts'
import { Metrics } from '../server/metrics.ts'
import { dieTogether } from './support/die-together.ts'
import { type RelayProcess, startRelay } from './support/relay-process.ts'
import { until } from './support/wait.ts'

const root = join(import.meta.dirname, '..')
const read = (path: string): string => readFileSync(join(root, path), 'utf8')
const operations = read('docs/operations.md')

/** The cells of the rows beneath a heading whose first cell is one word of code. */
function tableUnder(heading: string): string[][] {
  const section = operations.split(/^## /m).find((text) => text.startsWith(`${heading}\n`)) ?? ''
  return section
    .split('\n')
    .filter((line) => /^\| `[^` ]+` \|/.test(line))
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .map(([, first = '', ...cells]) => [first.slice(1, -1), ...cells])
}

describe('the settings in docs/operations.md', () => {
  const rows = tableUnder('Settings')
  const names = [...read('server/config.ts').matchAll(/^ {2}([A-Z][A-Z_]*):/gm)].map(([, name]) => name)

  test('are those of server/config.ts, in its order', () => {
    expect(names.length).toBeGreaterThan(10)
    expect(names).toEqual(expect.arrayContaining(Object.keys(readConfig({}))))
    expect(rows.map(([name]) => name)).toEqual(names)
  })

  test('have the defaults that it has', () => {
    const defaults = new Map<string, unknown>(Object.entries(readConfig({})))
    for (const [name = '', shown = ''] of rows) {
      const value = defaults.get(name)
      expect(`${name} ${shown.replace(/ \(.*\)$/, '')}`).toBe(
        `${name} ${value === undefined ? 'not set' : `\`${String(value)}\``}`,
      )
      const [, amount, unit] = / \((\d+) ([KM])iB\)$/.exec(shown) ?? []
      if (amount !== undefined) expect(Number(amount) * (unit === 'K' ? 1024 : 1024 ** 2), name).toBe(value)
    }
  })

  test('accept what it accepts', () => {
    const takesAnyText = ['HOST', 'DATA_DIR', 'JWT_ISSUER', 'JWT_AUDIENCE', 'ADAPTERS']
    for (const [name = '', , accepts = ''] of rows) {
      if (takesAnyText.includes(name)) continue
      expect(() => readConfig({ [name]: '?' }), name).toThrowError(ConfigError)
      expect(() => readConfig({ [name]: '?' })).toThrowError(
        new RegExp(`${name} takes (a whole number from |one of )?${accepts}$`),
      )
    }
  })
})

test('every metric of the relay is explained in docs/operations.md, and no other', async () => {
  const metrics = new Metrics()
  metrics.watch({
    connections: () => 0,
    bufferedBytes: () => 0,
    rooms: () => 0,
    tailBytes: () => 0,
    imageBytes: () => 0,
  })
  const names = (await metrics.registry.getMetricsAsJSON()).map(({ name }) => name)
  const explained = tableUnder('Health and metrics').map(([name]) => name)
  expect(names).toEqual(expect.arrayContaining(explained))
  const ours = names.filter((name) => name.startsWith('tidemark_'))
  expect(explained).toEqual(expect.arrayContaining(ours))
})

test('docs/operations.md says of every error what to do', () => {
  const rows = tableUnder('Troubleshooting').map(([code]) => code)
  expect(rows).toEqual(Object.keys(errorTable))
})

describe('links', () => {
  const guides = readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md'))
  const pages = ['README.md', 'ARCHITECTURE.md', 'PROTOCOL.md', ...guides.map((name) => `docs/${name}`)]

  test.each(pages)('of %s lead to a file, and to a heading where they name one', (page) => {
    const links = [...read(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link ?? '')
    const dead = links
      .filter((link) => !/^[a-z]+:/.test(link))
      .filter((link) => {
        const [path = '', heading] = link.split('#', 2)
        const file = path === '' ? page : join(dirname(page), path)
        return (
          !existsSync(join(root, file)) ||
          (heading !== undefined && !headingsOf(read(file)).includes(heading))
        )
      })
    expect(dead).toEqual([])
  })
})

/** As GitHub makes them into fragments. */
function headingsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

describe('the example of README.md', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-docs-'))
  const running: { kill9(): Promise<void> }[] = []
  afterEach(async () => {
    for (const one of running.splice(0)) await one.kill9()
    rmSync(folder, { recursive: true, force: true })
  })

  test('shows a note to another client, and again after kill -9 and a start', async () => {
    const first = await relay()
    const writer = notes(first)
    const reader = notes(first)
    await until('both are synced', () => writer.printed('[]') && reader.printed('[]'))
    writer.type('milk')
    await until('the other prints it', () => reader.printed("[ 'milk' ]"))
    for (const one of running.splice(0).reverse()) await one.kill9()

    const again = notes(await relay())
    await until('it is still there', () => again.printed("[ 'milk' ]"))
  })

  async function relay(): Promise<RelayProcess> {
    const started = await startRelay({ DATA_DIR: folder })
    running.push(started)
    return started
  }

  function notes(server: RelayProcess) {
    const example = /```js\n(\/\/ notes\.mjs.*?)```/s.exec(read('README.md'))?.[1] ?? ''
    expect(example).toContain('ws://127.0.0.1:8080')
    const source = example.replace('ws://127.0.0.1:8080', server.webSocketUrl)
    const child = spawn(process.execPath, ['--input-type=module', '--eval', source], { cwd: root })
    dieTogether(child)
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        output += chunk.toString()
      })
    running.push({
      kill9: () => {
        child.kill('SIGKILL')
        return exited
      },
    })
    return {
      type: (line: string) => child.stdin.write(`${line}\n`),
      printed: (text: string) => output.includes(text),
    }
  }
})
