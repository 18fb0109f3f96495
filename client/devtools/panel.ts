/**
 * A small floating panel for development: what `client.inspect()` says, the event log, a retry button and an offline
 * switch. `mountDevtools(client)` puts it into the page and gives back what removes it.
 *
 * - No framework, and a shadow root of its own, so it looks the same on every page and disturbs none.
 * - Everything is written as text, never as markup: document ids and reasons come from elsewhere.
 * - Closed, it costs one line that is written again when something happens; open, it is written again at most four times a
 *   second, from what is so at that moment.
 * - Its style is a constructed sheet, which a strict content security policy allows.
 */
import type { Client, Inspection } from '../types.ts'
import { documentsTable, element, eventsTable, secondsUntil } from './elements.ts'
import { style } from './style.ts'

export interface DevtoolsOptions {
  /** Default: document.body. */
  readonly parent?: HTMLElement
  /** Default: false; only the pill is shown. */
  readonly open?: boolean
  /** Default: as the device prefers. */
  readonly theme?: 'light' | 'dark'
}

const drawMs = 250
const clockMs = 1_000
const eventsShown = 100

/** Removes the panel again when called. Throws where there is no DOM. */
export type Unmount = () => void

export function mountDevtools(client: Client, options: DevtoolsOptions = {}): Unmount {
  const host = document.createElement('div')
  host.dataset['tidemarkDevtools'] = ''
  if (options.theme !== undefined) host.dataset['theme'] = options.theme
  const shadow = host.attachShadow({ mode: 'open' })
  const sheet = new CSSStyleSheet()
  sheet.replaceSync(style)
  shadow.adoptedStyleSheets = [sheet]

  const facts = element('p', 'facts')
  const documents = element('div', 'scroll documents')
  const events = element('div', 'scroll events')
  const offline = button('Work offline', () => {
    if (client.paused) client.resume()
    else client.pause()
    draw()
  })
  const retry = button('Retry now', () => client.retry())
  const title = element('strong', '', 'Tidemark')
  const panel = element(
    'section',
    'panel',
    element('header', '', title, retry, offline),
    facts,
    documents,
    events,
  )
  panel.setAttribute('aria-label', 'Tidemark devtools')
  panel.hidden = options.open !== true
  const dot = element('span', 'dot')
  const summary = element('span', '')
  const pill = button('', () => {
    panel.hidden = !panel.hidden
    draw()
  })
  pill.className = 'pill'
  pill.append(dot, summary)
  shadow.append(element('div', 'root', panel, pill))

  function draw(): void {
    const state = client.inspect()
    dot.dataset['status'] = state.status
    summary.textContent = summaryOf(state)
    pill.setAttribute('aria-expanded', String(!panel.hidden))
    if (panel.hidden) return
    offline.setAttribute('aria-pressed', String(state.paused))
    facts.replaceChildren(...factsOf(state))
    documents.replaceChildren(documentsTable(state.documents))
    const { scrollTop } = events
    events.replaceChildren(eventsTable(client.events.slice(-eventsShown).reverse()))
    events.scrollTop = scrollTop
  }

  let due: ReturnType<typeof setTimeout> | null = null
  const drawSoon = (): void => {
    due ??= setTimeout(() => {
      due = null
      draw()
    }, drawMs)
  }
  const stops = [client.on('event', drawSoon), client.on('status', drawSoon)]
  // Offsets and bytes change without an event.
  const clock = setInterval(() => {
    if (!panel.hidden) drawSoon()
  }, clockMs)

  const parent = options.parent ?? document.body
  parent.append(host)
  draw()
  return () => {
    for (const stop of stops) stop()
    clearInterval(clock)
    if (due !== null) clearTimeout(due)
    host.remove()
  }
}

function summaryOf({ status, paused, documents }: Inspection): string {
  const pending = documents.reduce((sum, document) => sum + document.pending, 0)
  const state = paused ? 'switched offline' : status
  return pending === 0 ? state : `${state} · ${pending} pending`
}

function factsOf({ url, status, durability, attempts, retryAtMs, error }: Inspection): (string | Node)[] {
  const facts: (string | Node)[] = [element('b', '', status), ` · ${url}`]
  if (durability !== null) facts.push(' · an ack means ', element('b', '', durability))
  if (attempts > 0) facts.push(` · attempt ${attempts}`)
  if (retryAtMs !== null) facts.push(` · ${secondsUntil(retryAtMs)}`)
  if (error !== null) facts.push(element('span', 'bad', ` · ${error.code}: ${error.message}`))
  return facts
}

function button(label: string, pressed: () => void): HTMLButtonElement {
  const made = element('button', '', label)
  made.type = 'button'
  made.addEventListener('click', pressed)
  return made
}
