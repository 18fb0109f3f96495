/** The name and colour under which others see this device; kept on it, by user. */
import { useSyncExternalStore } from 'react'
import { type Stored, stored } from './stored.ts'

export interface Person {
  readonly name: string
  readonly color: string
}

/** Dark enough for white text, in light and dark alike. */
export const colors = ['#0b7285', '#b3541e', '#5f3dc4', '#2b8a3e', '#c2255c', '#1864ab', '#8f5b00', '#862e9c']

const adjectives = ['Quiet', 'Brave', 'Amber', 'Early', 'Salty', 'Gentle', 'Windy', 'Lucky']
const animals = ['Heron', 'Otter', 'Curlew', 'Seal', 'Plover', 'Crab', 'Tern', 'Osprey']

export function personOf(user: string): Stored<Person> {
  const random = (list: readonly string[]): string => list[Math.floor(Math.random() * list.length)] ?? ''
  const someone = {
    name: user === '' ? `${random(adjectives)} ${random(animals)}` : user,
    color: random(colors),
  }
  const person = stored(`tidemark.editor.person.${user}`, someone, isPerson)
  if (person.get() === someone) person.set(someone)
  return person
}

export function usePerson(person: Stored<Person>): Person {
  return useSyncExternalStore(person.subscribe, person.get)
}

/** Also of what others send. */
export function isPerson(value: unknown): value is Person {
  if (typeof value !== 'object' || value === null) return false
  const { name, color } = value as Record<string, unknown>
  return typeof name === 'string' && typeof color === 'string' && /^#[0-9a-f]{6}$/i.test(color)
}

export function initialsOf(name: string): string {
  const [first = '', second = ''] = name.trim().split(/\s+/)
  return ([...first][0] ?? '?').concat([...second][0] ?? '').toUpperCase()
}
