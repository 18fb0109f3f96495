import { type FormEvent, useState } from 'react'
import type { MultiValue } from 'tidemark/fields'
import { labels, nameOf, shown } from './words.ts'

interface ValueProps {
  readonly field: string
  readonly value: MultiValue<string> | MultiValue<number>
  readonly mayEdit: boolean
  /** What the button says. */
  readonly verb?: string
  readonly onSet: (value: string) => void
}

/** A line with a name and a value that can be changed in its place. While there are two, both are shown. */
export function Value({ field, value, mayEdit, verb = 'Change', onSet }: ValueProps) {
  const [isEdited, setEdited] = useState(false)
  const label = labels[field] ?? field
  const submit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault()
    onSet(String(new FormData(event.currentTarget).get('value')).trim())
    setEdited(false)
  }
  if (isEdited)
    return (
      <div>
        <dt>{label}</dt>
        <dd>
          <form className="line" onSubmit={submit}>
            <input
              name="value"
              aria-label={label}
              required
              maxLength={200}
              {...(field === 'asking' ? { type: 'number', min: 1, step: 1 } : {})}
              defaultValue={value.value ?? ''}
              // biome-ignore lint/a11y/noAutofocus: it comes in the place of the button that was pressed
              autoFocus
              onKeyDown={({ key }) => key === 'Escape' && setEdited(false)}
            />
            <button type="submit" className="button">
              Save
            </button>
          </form>
        </dd>
      </div>
    )
  return (
    <div>
      <dt>{label}</dt>
      <dd>
        {value.conflict === null ? (
          <span>{shown(field, value.value) || <span className="quiet">not said</span>}</span>
        ) : (
          value.conflict.map(({ key, value, subject }) => (
            <span key={key} className="side">
              {shown(field, value)} <small>{nameOf(subject)}</small>
            </span>
          ))
        )}
        {mayEdit && value.conflict === null && (
          <button type="button" className="plain" onClick={() => setEdited(true)}>
            {verb}
            <span className="unseen"> {label}</span>
          </button>
        )}
      </dd>
    </div>
  )
}
