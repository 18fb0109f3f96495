/** What the editor's badge says, for every state that a document can be in. */
import { expect, test } from 'vitest'
import { type BadgeState, badgeOf } from '../../examples/editor/src/badge.ts'

const statuses = ['offline', 'connecting', 'authenticating', 'syncing', 'live', 'refused'] as const
const accesses = [null, 'read', 'write'] as const
const booleans = [false, true]
const error = { message: 'No more room' }

const all: BadgeState[] = statuses.flatMap((status) =>
  accesses.flatMap((access) =>
    booleans.flatMap((synced) =>
      [null, error].flatMap((error) =>
        [0, 1, 3].map((pending) => ({ status, access, synced, error, pending }) as BadgeState),
      ),
    ),
  ),
)

test('it says Saved only when the document is live and writable and nothing waits for the server', () => {
  for (const state of all) {
    const said = badgeOf(state)
    const isSaved = state.status === 'live' && state.access !== 'read' && state.pending === 0
    expect({ ...state, isSaved: said.text === 'Saved' }).toEqual({ ...state, isSaved })
    expect({ ...state, isGood: said.tone === 'good' }).toEqual({ ...state, isGood: isSaved })
  }
})

test('it says how many edits wait, whatever else it says', () => {
  for (const state of all.filter(({ pending }) => pending > 0))
    expect({ ...state, text: badgeOf(state).text }).toEqual({
      ...state,
      text: expect.stringContaining(String(state.pending)),
    })
})

test.each<[Partial<BadgeState>, string]>([
  [{}, 'Saved'],
  [{ pending: 1 }, '1 edit not yet saved'],
  [{ pending: 3 }, '3 edits not yet saved'],
  [{ access: 'read' }, 'Read only'],
  [{ access: 'read', pending: 3 }, 'Refused: read only (3 kept here)'],
  [{ status: 'offline' }, 'Offline'],
  [{ status: 'offline', pending: 3 }, 'Offline, 3 edits not yet saved'],
  [{ status: 'connecting' }, 'Reconnecting'],
  [{ status: 'syncing', synced: false }, 'Opening'],
  [{ status: 'syncing', pending: 3 }, '3 edits not yet saved'],
  // One of many attempts: the word stays while they come and go.
  [{ status: 'connecting', error }, 'Offline'],
  [{ status: 'connecting', error, pending: 3 }, 'Offline, 3 edits not yet saved'],
  [{ status: 'refused', error }, 'Refused: No more room'],
  [{ status: 'refused', error, pending: 3 }, 'Refused: No more room (3 kept here)'],
])('%j: %s', (part, text) => {
  const live: BadgeState = { status: 'live', pending: 0, access: 'write', synced: true, error: null }
  expect(badgeOf({ ...live, ...part }).text).toBe(text)
})
