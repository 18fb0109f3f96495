import type { RefObject } from 'react'
import { type Choice, type Chosen, type Item, labelOf } from './inbox.ts'
import { Waits } from './part.tsx'
import { nameOf, shown, when } from './words.ts'

interface MatterProps {
  readonly item: Item
  readonly chosen: Chosen
  readonly field: RefObject<HTMLInputElement | null>
  readonly onChoose: (chosen: Chosen) => void
  readonly onSettle: () => void
}

/** One matter of the inbox, with what can be done about it. */
export function Matter({ item, chosen, field, onChoose, onSettle }: MatterProps) {
  if (item.kind === 'waiting')
    return (
      <article className="matter" aria-label={item.what}>
        <h2>{item.what}</h2>
        <p>
          <Waits text={item.waitsFor} />
        </p>
        <p className="quiet">Nothing to do: it is decided as soon as there is a connection.</p>
      </article>
    )
  const label = labelOf(item)
  const text = chosen !== null && 'text' in chosen ? chosen.text : ''
  const isNumber = typeof item.versions[0].value === 'number'
  return (
    <article className="matter" aria-label={`${label}, ${item.title}`}>
      <h2>{label}</h2>
      <p className="quiet">{questionOf(item)}</p>
      <div className="versions">
        {item.versions.map((version, index) => {
          const isChosen = chosen !== null && 'version' in chosen && chosen.version === index
          return (
            <button
              key={version.key}
              type="button"
              aria-pressed={isChosen}
              onClick={() => onChoose({ version: index })}
            >
              <kbd>{index + 1}</kbd>
              <span className="value">{shown(item.field, version.value) || 'not said'}</span>
              <small>{saidBy(item, index)}</small>
            </button>
          )
        })}
      </div>
      <label className="third" data-chosen={text !== '' || undefined}>
        <span>
          <kbd>e</kbd> Something else
        </span>
        <input
          ref={field}
          type={isNumber ? 'number' : 'text'}
          maxLength={200}
          value={text}
          onChange={({ target }) => onChoose(target.value.trim() === '' ? null : { text: target.value })}
        />
      </label>
      <p className="actions">
        <button type="button" className="button primary" disabled={chosen === null} onClick={onSettle}>
          {verbOf(item, chosen)} <kbd>Enter</kbd>
        </button>
      </p>
    </article>
  )
}

function questionOf(item: Choice): string {
  if (item.kind === 'conflict') return 'Changed at the same time. Which one holds?'
  return `You hold this deal. ${nameOf(item.versions[1].subject)} wrote another version.`
}

function saidBy(item: Choice, index: number): string {
  const { subject, at } = item.versions[index]!
  if (item.kind === 'proposal' && index === 0) return 'as it is'
  return at === null ? nameOf(subject) : `${nameOf(subject)}, ${when(at)}`
}

function verbOf(item: Choice, chosen: Chosen): string {
  if (item.kind === 'conflict' || chosen === null || 'text' in chosen) return 'Settle'
  return chosen.version === 0 ? 'Keep it as it is' : 'Take it over'
}
