/** A real Chromium for one test file, headless, with nothing of its own to say to any network. */
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'
import { findProgram, programs } from '../../scripts/programs.mjs'

/** Deadline of whatever a page waits for: two cores may be busy with all other tests. */
const waitMsMax = 100_000

export async function startChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: chromiumProgram(),
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
}

/**
 * A page of a person with a fresh profile of their own, or one more tab of `profile`. Whatever goes wrong in it (an exception, a
 * promise nobody awaits) is collected in `errors`.
 */
export async function openTab(profile: Browser | BrowserContext, errors: Error[] = []): Promise<Page> {
  const page = await profile.newPage()
  page.setDefaultTimeout(waitMsMax)
  page.on('pageerror', (error) => errors.push(error))
  return page
}

function chromiumProgram(): string {
  const program = programs.find(({ label }) => label === 'Chromium')
  if (program === undefined) throw new Error('scripts/programs.mjs knows no Chromium')
  const { path, reason } = findProgram(program)
  if (path === undefined) throw new Error(`${reason}. Install ${program.toInstall}`)
  return path
}
