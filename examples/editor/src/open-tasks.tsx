import { useState } from 'react'
import type { Client } from 'tidemark/client'
import { type LiveRowsState, useLive } from 'tidemark/client/react'
import { Anchor } from './anchor.tsx'
import { linkTo } from './place.ts'
import { nameOf } from './recents.ts'
import { tick } from './tick.ts'

export interface OpenTask {
  readonly document: string
  readonly position: number
  readonly depth: number
  readonly text: string
  readonly title: string
}

const shownMax = 300
const tasksSql = `
  select document, position, depth, tasks.text, title
  from tasks join notes using (document)
  where not done and tasks.text <> ''
  order by title = '', lower(title), document, position limit ${shownMax}`

export function useOpenTasks(client: Client): LiveRowsState<OpenTask> {
  return useLive<OpenTask>(client, tasksSql, [], { key: ['document', 'position'] })
}

/** As all documents have them, while people type. */
export function OpenTasks({
  client,
  tasks,
}: {
  readonly client: Client
  readonly tasks: LiveRowsState<OpenTask>
}) {
  const documents = byDocument(tasks.rows)
  const isLive = tasks.state === 'live'
  return (
    <section className="tasks" aria-label="Open tasks" data-stale={!isLive || undefined}>
      <h2>
        Open tasks
        {tasks.rows.length > 0 && <small>{countOf(tasks.rows.length, documents.length)}</small>}
      </h2>
      {tasks.loaded && tasks.rows.length === 0 && (
        <p className="quiet">Nothing to do. Tasks of all documents appear here as they are written.</p>
      )}
      {!tasks.loaded && (
        <p className="quiet">
          {tasks.state === 'refused'
            ? `Refused: ${tasks.error?.message ?? 'no reason was given'}`
            : 'Asking the server …'}
        </p>
      )}
      {documents.map(([first, ...others]) => (
        <article key={first.document}>
          <h3>
            <Anchor to={linkTo(first.document)}>{first.title || nameOf(first.document)}</Anchor>
            <small>{others.length + 1}</small>
          </h3>
          <ul>
            {[first, ...others].map((task) => (
              <Task key={`${task.position} ${task.text}`} client={client} task={task} isLive={isLive} />
            ))}
          </ul>
        </article>
      ))}
    </section>
  )
}

function countOf(tasks: number, documents: number): string {
  const inDocuments = documents === 1 ? 'in one document' : `in ${documents} documents`
  return tasks < shownMax ? `${tasks} ${inDocuments}` : `the first ${tasks}, ${inDocuments}`
}

interface TaskProps {
  readonly client: Client
  readonly task: OpenTask
  readonly isLive: boolean
}

/** Ticking edits the document; the row goes when the view has seen it. */
function Task({ client, task, isLive }: TaskProps) {
  const [state, setState] = useState<'open' | 'ticking' | 'failed'>('open')
  return (
    <li style={{ marginInlineStart: `${task.depth * 1.6}em` }}>
      <label>
        <input
          type="checkbox"
          checked={state === 'ticking'}
          disabled={!isLive || state === 'ticking'}
          onChange={() => {
            setState('ticking')
            tick(client, task).then(
              (ticked) => setState(ticked ? 'ticking' : 'failed'),
              () => setState('failed'),
            )
          }}
        />
        <span>{task.text}</span>
      </label>
      {state === 'failed' && (
        <small role="alert">
          It could not be ticked from here. <Anchor to={linkTo(task.document)}>Open the document</Anchor>
        </small>
      )}
    </li>
  )
}

/** Rows come in the order of their documents. */
function byDocument(tasks: readonly OpenTask[]): [OpenTask, ...OpenTask[]][] {
  const groups: [OpenTask, ...OpenTask[]][] = []
  for (const task of tasks) {
    const last = groups.at(-1)
    if (last?.[0].document === task.document) last.push(task)
    else groups.push([task])
  }
  return groups
}
