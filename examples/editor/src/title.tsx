import { useEffect, useRef, useSyncExternalStore } from 'react'
import type { Doc } from 'yjs'
import { replaceText, titleOf } from './content.ts'

interface TitleProps {
  readonly doc: Doc
  readonly isEditable: boolean
  readonly onTitle: (title: string) => void
}

/** One line that wraps; its text is part of the document, and is edited together like the rest. */
export function Title({ doc, isEditable, onTitle }: TitleProps) {
  const text = titleOf(doc)
  const title = useSyncExternalStore(
    (changed) => {
      text.observe(changed)
      return () => text.unobserve(changed)
    },
    () => text.toString(),
  )
  const area = useRef<HTMLTextAreaElement>(null)
  useEffect(() => onTitle(title), [title, onTitle])
  useEffect(() => {
    const { current } = area
    if (current === null || current.value === title) return
    // Somebody else's change must not move the caret of who types here.
    const caret = current.selectionStart
    current.value = title
    if (document.activeElement === current) current.setSelectionRange(caret, caret)
  }, [title])
  return (
    <div className="title" data-value={title}>
      <textarea
        ref={area}
        rows={1}
        defaultValue={title}
        placeholder="Untitled"
        aria-label="Title"
        readOnly={!isEditable}
        onChange={(event) => replaceText(text, event.target.value.replace(/\n/g, ' '))}
        onKeyDown={(event) => {
          if (event.key !== 'Enter') return
          event.preventDefault()
          document.querySelector<HTMLElement>('.prose')?.focus()
        }}
      />
    </div>
  )
}
