/**
 * The badge's promise, against a relay that dies by kill -9 while somebody types: what stood in the text when a frame that
 * said "Saved" was painted is there when the relay is started again.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startChromium } from '../support/chromium.ts'
import { freePort } from '../support/free-port.ts'
import { type RelayProcess, startRelay } from '../support/relay-process.ts'
import { until } from '../support/wait.ts'
import { Editor, textOnServer } from './editor.ts'

const kills = 2
const folder = mkdtempSync(join(tmpdir(), 'tidemark-kill-'))
let environment: Record<string, string>
let relay: RelayProcess
let browser: Browser

beforeAll(async () => {
  environment = { DATA_DIR: folder, PORT: String(await freePort()) }
  ;[relay, browser] = await Promise.all([startRelay(environment), startChromium()])
})
afterAll(async () => {
  await browser?.close()
  await relay?.stop()
  rmSync(folder, { recursive: true })
})

interface Watch {
  /** The longest text that was on the screen together with the word. */
  saved: string
  /** How many frames said so. */
  frames: number
}

test('kill -9 while somebody types: whatever was called saved is there after the restart, and the rest comes later', async () => {
  const document = 'notes/struck'
  const profile = await browser.newContext()
  const ida = await Editor.open(profile, relay, document)
  await ida.page.locator('.prose').waitFor()
  await ida.page.evaluate(watchFrames)
  const watched = async (): Promise<Watch> =>
    ida.page.evaluate(() => (globalThis as unknown as { watch: Watch }).watch)

  let typed = ''
  for (let round = 0; round < kills; round++) {
    const frames = (await watched()).frames
    await until('a frame that says Saved', async () => (await watched()).frames > frames)
    await ida.page.locator('.prose').focus()
    let [killed, over] = [false, false]
    const typing = (async () => {
      for (let i = 0; !over; i++) {
        const word = `${round}.${i} `
        await ida.page.keyboard.type(word)
        typed += word
        // Pauses as people make them, so that some of it is called saved in between: the badge waits for a little calm.
        if (i % 8 === 7) await until('a pause', async () => killed || (await ida.badge()) === 'Saved')
      }
    })()
    const before = (await watched()).saved.length
    await until('something was saved', async () => (await watched()).saved.length > before)
    const length = typed.length
    await until('somebody types', () => typed.length > length)
    await relay.kill9()
    killed = true
    const known = typed.length
    await until('somebody types on', () => typed.length > known + 20)
    over = true
    await typing
    await ida.switchOffline()
    await ida.showsText(typed)
    await ida.showsBadge(/^Offline, \d+ edits? not yet saved$/)
    const { saved } = await watched()

    relay = await startRelay(environment)
    const kept = await textOnServer(relay, document)
    expect(kept.startsWith(saved), `saved: …${saved.slice(-40)}, kept: …${kept.slice(-40)}`).toBe(true)
    expect(typed.startsWith(kept)).toBe(true)

    await ida.switchOffline()
    await ida.showsBadge('Saved')
    expect(await textOnServer(relay, document)).toBe(typed)
  }
  const ravi = await Editor.open(await browser.newContext(), relay, document)
  await ravi.showsText(typed)
})

/** In the page: looks at every frame before it is painted. */
function watchFrames(): void {
  const watch = { saved: '', frames: 0 }
  Object.assign(globalThis, { watch })
  const look = (): void => {
    const text = document.querySelector('.prose')?.textContent ?? ''
    if (document.querySelector('.badge')?.textContent === 'Saved') {
      watch.frames++
      if (text.length > watch.saved.length) watch.saved = text
    }
    requestAnimationFrame(look)
  }
  requestAnimationFrame(look)
}
