import { useId } from 'react'
import type { Handle } from 'tidemark/client'
import { usePresence } from 'tidemark/client/react'
import { colors, initialsOf, isPerson, type Person, usePerson } from './person.ts'
import type { Stored } from './stored.ts'

const shownMax = 4

interface PresenceProps {
  readonly handle: Handle
  /** False: others are those that were last heard of, for as long as that says something. */
  readonly isConnected: boolean
  readonly person: Stored<Person>
}

/** Who else is here, and, at the end, oneself: a button to change name and colour. */
export function Presence({ handle, isConnected, person: stored }: PresenceProps) {
  const person = usePerson(stored)
  const others = usePresence<unknown>(handle, 'user').flatMap(({ clientId, isSelf, value }) =>
    isSelf || !isPerson(value) ? [] : [{ clientId, ...value }],
  )
  const card = useId()
  const beyond = others.slice(shownMax)
  return (
    <div className="presence">
      <ul
        aria-label={isConnected ? 'Others here' : 'Others who were here'}
        data-stale={!isConnected || undefined}
      >
        {others.slice(0, shownMax).map(({ clientId, name, color }) => (
          <li
            key={clientId}
            className="avatar"
            style={{ backgroundColor: color }}
            title={isConnected ? name : `${name}, when last heard of`}
          >
            <span aria-hidden="true">{initialsOf(name)}</span>
            <span className="unseen">{name}</span>
          </li>
        ))}
        {beyond.length > 0 && (
          <li className="avatar more" title={beyond.map(({ name }) => name).join(', ')}>
            +{beyond.length}
          </li>
        )}
      </ul>
      <button
        type="button"
        className="avatar self"
        style={{ backgroundColor: person.color }}
        popoverTarget={card}
        aria-label={`You are ${person.name}; change name and colour`}
        title={`${person.name} (you)`}
      >
        {initialsOf(person.name)}
      </button>
      <div id={card} popover="auto" className="card">
        <label>
          Your name
          <input
            className="name"
            value={person.name}
            maxLength={40}
            onChange={(event) => stored.set({ ...person, name: event.target.value })}
          />
        </label>
        <fieldset>
          <legend>Your colour</legend>
          {colors.map((color) => (
            <label key={color} className="swatch" style={{ backgroundColor: color }}>
              <input
                type="radio"
                name={`${card}-color`}
                checked={color === person.color}
                onChange={() => stored.set({ ...person, color })}
              />
              <span className="unseen">{color}</span>
            </label>
          ))}
        </fieldset>
        <p>Others see both beside your caret.</p>
      </div>
    </div>
  )
}
