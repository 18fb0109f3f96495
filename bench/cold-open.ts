/**
 * How soon is a 5 MB document on the screen that this browser has kept, with no network? A table of 17,000 rows of 10 cells
 * in Chromium's IndexedDB, as one update, and with 400 edits after it (half a session, not merged yet).
 *
 * Chromium is started anew for each figure, on a profile that has only this document: no code is compiled, no page of its
 * database is in its memory (what the kernel caches stays). Timed in the page, from before the client is made to
 * `whenLoaded`. Beside it y-indexeddb doing the same, and the least one could do: read the rows, apply them to a Y.Doc.
 */
import { join } from 'node:path'
import { type BrowserContext, chromium, type Page } from 'playwright-core'
import { build, type Rollup } from 'vite'
import * as Y from 'yjs'
import { programPath } from './harness/programs.ts'
import { interleaveEach, judge, type Question, rowsOf } from './harness/question.ts'
import { root } from './harness/root.ts'
import type { ColdOpenPage, Contestant } from './load/cold-open-page.ts'
import type { LoadResult } from './load/spec.ts'

declare const coldOpenPage: ColdOpenPage

const names: readonly Contestant[] = ['disk-and-yjs', 'y-indexeddb', 'tidemark']
const rowCount = 17_000
const columnCount = 10
const moreCount = 400
const states = [
  { name: 'one update', count: 1 },
  { name: `and ${moreCount} edits`, count: 1 + moreCount },
]
/** Answered by us: no server, and a secure context as an app has it. */
const origin = 'http://localhost'

export const coldOpen: Question = async (settings) => {
  const updates = documentOf()
  const pageScript = await bundle()
  const executablePath = await programPath('Chromium')
  const start = async (profile: string): Promise<[BrowserContext, Page]> => {
    const args = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-sync']
    const browser = await chromium.launchPersistentContext(join(settings.temporaryDir, profile), {
      executablePath,
      args,
    })
    await browser.route(`${origin}/**`, async (route) => {
      const { pathname } = new URL(route.request().url())
      const update = /^\/updates\/(\d+)$/.exec(pathname)
      if (update !== null) await route.fulfill({ body: Buffer.from(updates[Number(update[1])]!) })
      else if (pathname === '/page.js')
        await route.fulfill({ body: pageScript, contentType: 'text/javascript' })
      else
        await route.fulfill({
          body: '<script type="module" src="/page.js"></script>',
          contentType: 'text/html',
        })
    })
    const page = await browser.newPage()
    await page.goto(origin)
    await page.waitForFunction(() => 'coldOpenPage' in globalThis)
    return [browser, page]
  }
  for (const [i, { count }] of states.entries())
    for (const name of names) {
      const [browser, page] = await start(`${name}-${i}`)
      await page.evaluate(([contestant, all]) => coldOpenPage.seed(contestant, all), [name, count] as const)
      await browser.close()
    }

  const samples = await interleaveEach(names, settings, async (contestant): Promise<LoadResult> => {
    const cases = []
    const errors = []
    for (const [i, { name, count }] of states.entries()) {
      const [browser, page] = await start(`${contestant}-${i}`)
      const { loadMs, version } = await page.evaluate((which) => coldOpenPage.open(which), contestant)
      await browser.close()
      if (version !== versionOf(updates.slice(0, count)))
        errors.push(`${name}: not the document that was put there`)
      cases.push({ name, figures: { loadMs } })
    }
    return { cases, errors }
  })
  const verdicts = judge(
    samples,
    ['tidemark'],
    [{ figure: 'loadMs', raw: 'y-indexeddb', bound: 'atMost', value: 1.1 }],
  )
  const notes = [`The update has ${updates[0]!.length} bytes.`]
  return [{ question: 'cold-open', rows: rowsOf(samples), verdicts, samples, notes }]
}

/** The document as one update, then single edits of it by somebody else. */
function documentOf(): Uint8Array[] {
  const doc = new Y.Doc()
  doc.clientID = 1_500_000_000
  const rows = doc.getMap<Y.Map<string>>('rows')
  doc.transact(() => {
    for (let row = 0; row < rowCount; row++) {
      const cells = new Y.Map<string>()
      for (let column = 0; column < columnCount; column++) cells.set(`column-${column}`, cell(row, column))
      rows.set(`row-${row}`, cells)
    }
  })
  const updates = [Y.encodeStateAsUpdate(doc)]
  doc.clientID = 2_500_000_000
  doc.on('update', (update: Uint8Array) => updates.push(update))
  for (let i = 0; i < moreCount; i++) rows.get(`row-${(i * 709) % rowCount}`)!.set('column-3', `changed ${i}`)
  return updates
}

function cell(row: number, column: number): string {
  return (Math.imul(row * columnCount + column + 1, 0x9e3779b1) >>> 0).toString(36).padEnd(9, 'x')
}

function versionOf(updates: readonly Uint8Array[]): string {
  const doc = new Y.Doc()
  for (const update of updates) Y.applyUpdate(doc, update)
  return Buffer.from(Y.encodeStateVector(doc)).toString('base64')
}

/** As an app would have it: one script, minified. */
async function bundle(): Promise<string> {
  const built = await build({
    root,
    configFile: false,
    logLevel: 'error',
    define: { 'process.env.NODE_ENV': '"production"' },
    resolve: { dedupe: ['yjs'] },
    build: {
      write: false,
      modulePreload: false,
      rollupOptions: {
        input: join(root, 'dist/bench/load/cold-open-page.js'),
        output: { codeSplitting: false },
      },
    },
  })
  const chunk = (built as Rollup.RollupOutput).output.find((part) => part.type === 'chunk')
  if (chunk?.type !== 'chunk') throw new Error('the page was not built')
  return chunk.code
}
