import { useEffect, useRef, useState } from 'react'
import type { Client } from 'tidemark/client'
import type { LiveRowsState } from 'tidemark/client/react'
import { Icon, type IconName } from './icon.tsx'
import { type OpenTask, OpenTasks, useOpenTasks } from './open-tasks.tsx'
import { Search, textQueryOf } from './search.tsx'
import { OfflineSwitch, ThemeSwitch } from './switches.tsx'

interface OverviewProps {
  readonly client: Client
  /** Null where there is no menu. */
  readonly onMenu: (() => void) | null
}

/** All documents at once, as the server's views have them (adapters/notes.ts): a search, and the tasks that are open. */
export function OverviewPage({ client, onMenu }: OverviewProps) {
  const [typed, setTyped] = useState('')
  const tasks = useOpenTasks(client)
  const field = useRef<HTMLInputElement>(null)
  useEffect(() => {
    document.title = 'Search and tasks · Tidemark'
    // On a phone the keyboard would cover the tasks.
    if (matchMedia('(pointer: fine)').matches) field.current?.focus()
  }, [])
  const hasViews = tasks.loaded || !saysNoViews(tasks)
  return (
    <main className="page overview">
      <header className="bar">
        {onMenu !== null && (
          <button type="button" className="icon menu" aria-label="Documents" onClick={onMenu}>
            <Icon name="menu" />
          </button>
        )}
        <LiveBadge tasks={tasks} />
        <span className="space" />
        <OfflineSwitch client={client} />
        <ThemeSwitch />
      </header>
      <div className="column">
        {hasViews ? (
          <>
            <label className="search">
              <Icon name="search" />
              <input
                ref={field}
                type="search"
                placeholder="Search in all documents"
                aria-label="Search in all documents"
                value={typed}
                onChange={(event) => setTyped(event.target.value)}
              />
            </label>
            <Search client={client} typed={typed} />
            {textQueryOf(typed) === '' && <OpenTasks client={client} tasks={tasks} />}
          </>
        ) : (
          <NoViews why={tasks.error?.message ?? ''} onRetry={tasks.retry} />
        )}
      </div>
    </main>
  )
}

const badges: Readonly<
  Record<
    LiveRowsState<OpenTask>['state'],
    { readonly tone: string; readonly icon: IconName; readonly text: string }
  >
> = {
  live: { tone: 'good', icon: 'check', text: 'Live' },
  connecting: { tone: 'quiet', icon: 'clock', text: 'Connecting …' },
  offline: { tone: 'away', icon: 'away', text: 'Not current: no connection' },
  refused: { tone: 'bad', icon: 'alert', text: 'Not current: refused' },
  closed: { tone: 'bad', icon: 'alert', text: 'Not current: closed' },
}

const noViews = { tone: 'away', icon: 'away', text: 'No views' } as const

function LiveBadge({ tasks }: { readonly tasks: LiveRowsState<OpenTask> }) {
  const { tone, icon, text } = !tasks.loaded && saysNoViews(tasks) ? noViews : badges[tasks.state]
  return (
    <output className="badge" data-tone={tone} aria-live="polite">
      <Icon name={icon} />
      <span>{text}</span>
    </output>
  )
}

/** The relay runs without adapters, is an older one, or is still making its tables. */
function saysNoViews({ error }: LiveRowsState<OpenTask>): boolean {
  return (
    error !== null && ['views_unavailable', 'not_found', 'query_failed', 'query_refused'].includes(error.code)
  )
}

function NoViews({ why, onRetry }: { readonly why: string; readonly onRetry: () => void }) {
  return (
    <section className="notice" data-tone="away" aria-label="No views">
      <h2>This server has no views of these documents (yet)</h2>
      <p>
        Search and tasks are SQL over what documents say. An adapter such as <code>adapters/notes.ts</code>,
        in the folder that the server was started with, makes the tables; the first start takes a few seconds
        more. Writing works all the same.
      </p>
      {why !== '' && <p className="quiet">The server says: {why}</p>}
      <p className="actions">
        <button type="button" className="button" onClick={onRetry}>
          Try again
        </button>
      </p>
    </section>
  )
}
