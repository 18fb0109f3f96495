/**
 * What waits, one matter at a time: both versions side by side, and a third if neither is right.
 *
 * With the keyboard alone: arrows or j and k go through the list, 1, 2, … choose, e writes another, Enter settles, Escape comes
 * back from writing. Keys work wherever the focus is on this page, except while one writes.
 */
import { useEffect, useId, useRef, useState } from 'react'
import { Anchor } from './anchor.tsx'
import { type Choice, type Chosen, type Item, labelOf } from './inbox.ts'
import { Matter } from './matter.tsx'
import { nameOf, refused, shown } from './words.ts'

export function InboxPage({ items }: { readonly items: readonly Item[] }) {
  const [current, setCurrent] = useState<string | null>(null)
  const [chosen, setChosen] = useState<Chosen>(null)
  const [said, setSaid] = useState('')
  const list = useRef<HTMLDivElement>(null)
  const field = useRef<HTMLInputElement>(null)
  const option = useId()
  const at = Math.max(
    0,
    items.findIndex(({ id }) => id === current),
  )
  const item = items[at]

  const goTo = (index: number): void => {
    const next = items[Math.min(items.length - 1, Math.max(0, index))]
    setCurrent(next?.id ?? null)
    setChosen(null)
    list.current?.focus()
  }
  const settle = (): void => {
    if (item === undefined || item.kind === 'waiting' || chosen === null) return
    const { refusal } = settled(item, chosen)
    setSaid(refusal === null ? `Settled: ${labelOf(item)}, ${item.title}` : refused(refusal))
    if (refusal !== null) return
    // The next one comes into its place.
    goTo(items[at + 1] === undefined ? at - 1 : at + 1)
  }
  const onKey = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    const writes = event.target instanceof HTMLInputElement
    const presses = event.target instanceof HTMLButtonElement || event.target instanceof HTMLAnchorElement
    const { key } = event
    if (writes && key !== 'Enter' && key !== 'Escape') return
    if (presses && key === 'Enter') return
    const version = /^[1-9]$/.test(key) ? Number(key) - 1 : -1
    if (key === 'ArrowDown' || key === 'j') goTo(at + 1)
    else if (key === 'ArrowUp' || key === 'k') goTo(at - 1)
    else if (key === 'Home') goTo(0)
    else if (key === 'End') goTo(items.length - 1)
    else if (key === 'Enter') settle()
    else if (key === 'Escape') list.current?.focus()
    else if (key === 'e') field.current?.focus()
    else if (item !== undefined && item.kind !== 'waiting' && version in item.versions) setChosen({ version })
    else return
    event.preventDefault()
  }
  const latest = useRef(onKey)
  useEffect(() => {
    latest.current = onKey
  })
  useEffect(() => {
    document.title = 'Inbox · Market'
    list.current?.focus()
    const listener = (event: KeyboardEvent): void => latest.current(event)
    addEventListener('keydown', listener)
    return () => removeEventListener('keydown', listener)
  }, [])

  return (
    <div className="inbox">
      <header>
        <h1>Inbox</h1>
        <p className="quiet keys">
          <kbd>↑</kbd> <kbd>↓</kbd> to go through, <kbd>1</kbd> <kbd>2</kbd> to choose, <kbd>e</kbd> to write
          another, <kbd>Enter</kbd> to settle
        </p>
      </header>
      <output className="unseen" aria-live="polite">
        {said}
      </output>
      {items.length === 0 && <p className="empty">Nothing waits for you.</p>}
      <div className="both" hidden={items.length === 0}>
        <div
          ref={list}
          role="listbox"
          aria-label="What waits"
          tabIndex={0}
          aria-activedescendant={item === undefined ? undefined : `${option}-${at}`}
        >
          {items.map((each, index) => (
            // biome-ignore lint/a11y/useKeyWithClickEvents: the list has the keys
            <div
              key={each.id}
              id={`${option}-${index}`}
              role="option"
              tabIndex={-1}
              aria-selected={index === at}
              onClick={() => goTo(index)}
            >
              <small>{each.title}</small>
              <strong>{each.kind === 'waiting' ? each.what : labelOf(each)}</strong>
              <small>{summaryOf(each)}</small>
            </div>
          ))}
        </div>
        {item !== undefined && (
          <Matter
            key={item.id}
            item={item}
            chosen={chosen}
            field={field}
            onChoose={setChosen}
            onSettle={settle}
          />
        )}
      </div>
      {item !== undefined && item.deal !== null && (
        <p>
          <Anchor to={{ name: 'deal', deal: item.deal }}>Look at the deal</Anchor>
        </p>
      )}
    </div>
  )
}

function settled(item: Choice, chosen: NonNullable<Chosen>) {
  if ('version' in chosen) return item.pick(item.versions[chosen.version]!)
  const { text } = chosen
  return item.write(typeof item.versions[0].value === 'number' ? Number(text) : text.trim())
}

function summaryOf(item: Item): string {
  if (item.kind === 'waiting') return item.waitsFor
  if (item.kind === 'proposal') return `${nameOf(item.versions[1].subject)} proposes another`
  return item.versions.map(({ value }) => shown(item.field, value)).join(' or ')
}
