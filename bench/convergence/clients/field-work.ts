/** What people do with the fields of a document, and what must hold of them at every replica at any moment. */
import type { Done, FieldHandles } from '../../../client/domain/domain.ts'
import type { fields } from '../fields.ts'
import type { Operation } from '../operation.ts'

export type FieldsInUse = FieldHandles<typeof fields>

/** What was done, or null when it was refused here, as it may be. */
export function workOn(
  { stock, price, tags, count, due, state }: FieldsInUse,
  { place, choice }: Operation,
  nowMs: number,
): string | null {
  const amount = 1 + (choice % 5)
  const tag = ['red', 'blue', 'green'][choice % 3]!
  const said = (done: Done, what: string): string | null => (done.refusal === null ? what : null)
  switch (place % 10) {
    case 0:
    case 1:
      return said(stock.do.put(amount), `puts ${amount} into stock`)
    case 2:
    case 3:
      return said(stock.do.take(amount), `takes ${amount} from stock`)
    case 4:
      return said(price.do.set(choice), `sets the price to ${choice}`)
    case 5:
      return said(
        choice % 2 === 0 ? tags.do.add(tag) : tags.do.remove(tag),
        `${choice % 2 === 0 ? 'adds' : 'removes'} the tag ${tag}`,
      )
    case 6:
      return said(count.do.add(amount), `counts ${amount}`)
    case 7:
      return said(due.do.set(choice, nowMs), `sets due to ${choice}`)
    default: {
      const { next } = state.value
      const move = next[choice % Math.max(1, next.length)]
      return move === undefined ? null : said(state.do.move(move), `moves the state: ${move}`)
    }
  }
}

/** In words; empty when all is well. */
export function brokenRules({ stock, state }: FieldsInUse): string[] {
  const { value, free, rights } = stock.value
  const problems: string[] = []
  if (value < 0) problems.push(`the stock is ${value}`)
  const held = Object.values(rights).reduce((sum, amount) => sum + amount, free)
  if (free < 0 || Object.values(rights).some((amount) => amount < 0)) problems.push('rights below 0')
  if (held > value) problems.push(`rights to ${held} of a stock of ${value}`)
  let at = 'draft'
  for (const move of state.value.history) {
    const [from, to] = allowed[move.transition]!
    if (!from.includes(at) || to !== move.state)
      problems.push(`${move.transition} from ${at} to ${move.state}`)
    at = move.state
  }
  if (at !== state.value.state) problems.push(`the state is ${state.value.state}, its history ends in ${at}`)
  return problems
}

/** Compared as text. */
export function foldOf(fields: FieldsInUse): string {
  return JSON.stringify(Object.entries(fields).map(([name, { value }]) => [name, value]))
}

const allowed: Readonly<Record<string, readonly [readonly string[], string]>> = {
  submit: [['draft'], 'review'],
  revise: [['review', 'done'], 'draft'],
  finish: [['review'], 'done'],
  seal: [['draft', 'review', 'done'], 'sealed'],
}

export const words = ['tide', 'mark', 'é', '漢字', '😀', 'a', ' ', 'x\n', 'harvest ', 'sea']
export const pasteCharactersMax = 40_000

/** Of one life of a replica: what it had written last may be lost with a page, and no number may be used twice. */
export const actorOf = (name: string, life: number): string => `${name}${String(life).padStart(3, '0')}`

export const sorted = (object: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1)))
