/** Two nodes' rooms of one document, and people who come, move, stop reading and go. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { DocumentId } from '../../../core/document-id.ts'
import { decodeAwareness, encodeAwareness } from '../../../core/protocol/awareness.ts'
import type { Log } from '../../../server/log/log.ts'
import type { Dialect } from '../../../server/room/dialect.ts'
import { PresencePace } from '../../../server/room/presence-pace.ts'
import { RoomPresence } from '../../../server/room/room-presence.ts'
import type { Session } from '../../../server/room/session.ts'
import { Tick } from '../../../server/room/tick.ts'
import { until } from '../../support/wait.ts'

const limits = {
  awarenessBytesMax: 1e6,
  awarenessClientsMax: 1e3,
  sessionAwarenessClientsMax: 10,
  awarenessFrameMs: 50,
}
const plain = { name: 'plain', presenceBeforeJoin: true, awareness: (update) => update } as Dialect

/** A session whose socket takes everything, or nothing. */
class Person {
  readonly hearsPresence = true
  readonly state = 'live'
  readonly dialect = plain
  readonly seen = new Map<number, string | null>()
  owedPresence = false
  full = false
  frames = 0
  clock = 0
  private drained: (() => void)[] = []

  write(update: Uint8Array): void {
    expect(this.full).toBe(false)
    this.frames++
    for (const { client, state } of decodeAwareness(update, limits))
      this.seen.set(client, state === null ? null : Buffer.from(state).toString())
  }

  whenDrained(work: () => void): void {
    this.drained.push(work)
  }

  drain(): void {
    this.full = false
    for (const work of this.drained.splice(0)) work()
  }
}

class Node {
  readonly people = new Set<Person>()
  readonly presence: RoomPresence
  other: Node | null = null

  constructor() {
    const publish: Log['publish'] = (_, bytes) => setImmediate(() => this.other?.presence.hear(bytes))
    const pace = new PresencePace(limits.awarenessFrameMs)
    const sessions = this.people as ReadonlySet<unknown> as ReadonlySet<Session>
    const context = { log: { publish } as Log, tick: new Tick(), pace, limits }
    this.presence = new RoomPresence('d' as DocumentId, sessions, context)
  }

  move(client: number, person: Person): void {
    const state = Buffer.from(String(++person.clock))
    this.presence.receive(asSession(person), encodeAwareness([{ client, clock: person.clock, state }]))
  }
}

const asSession = (person: Person): Session => person as unknown as Session

function twoNodes(): [Node, Node] {
  const nodes: [Node, Node] = [new Node(), new Node()]
  nodes[0].other = nodes[1]
  nodes[1].other = nodes[0]
  return nodes
}

test('the last state of everybody reaches all on both nodes, whoever stops reading for a while', async () => {
  const who = fc.nat(5)
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('move' as const), who }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('stop' as const), who }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('read' as const), who }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('leave' as const), who }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('wait' as const), who: fc.nat(8) }) },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const nodes = twoNodes()
      const people = Array.from({ length: 6 }, () => new Person())
      const nodeOf = (index: number): Node => nodes[index % 2]!
      for (const [i, person] of people.entries()) nodeOf(i).people.add(person)
      for (const { kind, who } of steps) {
        if (kind === 'wait') {
          await new Promise((done) => setTimeout(done, who))
          continue
        }
        const person = people[who]!
        const node = nodeOf(who)
        if (!node.people.has(person)) continue
        if (kind === 'move') node.move(who, person)
        else if (kind === 'stop') person.full = true
        else if (kind === 'read') person.drain()
        else {
          node.people.delete(person)
          node.presence.leave(asSession(person))
        }
      }
      for (const person of people) person.drain()
      const stay = people.filter((person, i) => nodeOf(i).people.has(person))
      await until('everybody has the last of everybody', () =>
        stay.every(({ seen }) =>
          people.every((person, i) => {
            const state = seen.get(i) ?? null
            return state === (person.clock > 0 && stay.includes(person) ? String(person.clock) : null)
          }),
        ),
      )
      for (const node of nodes) node.presence.close()
    }),
    { numRuns: 30 },
  )
})

test('one whose socket was full hears who went meanwhile', async () => {
  const node = new Node()
  const [one, two] = [new Person(), new Person()]
  node.people.add(one).add(two)
  node.move(1, one)
  await until('they see one another', () => two.seen.get(1) === '1')
  two.full = true
  node.people.delete(one)
  node.presence.leave(asSession(one))
  await until('the room would have told', () => two.owedPresence)
  two.drain()
  expect(two.seen.get(1)).toBe(null)
  node.presence.close()
})

test('a change after a quiet time is told in the same turn of the event loop', async () => {
  const node = new Node()
  const [one, two] = [new Person(), new Person()]
  node.people.add(one).add(two)
  node.move(1, one)
  await new Promise((done) => setImmediate(done))
  expect(two.seen.get(1)).toBe('1')
  node.presence.close()
})

test('changes in one turn are one frame, and a room that is closed tells nothing more', async () => {
  const node = new Node()
  const [one, two] = [new Person(), new Person()]
  node.people.add(one).add(two)
  for (let i = 0; i < 100; i++) node.move(1, one)
  await new Promise((done) => setImmediate(done))
  expect([two.frames, two.seen.get(1)]).toEqual([1, '100'])
  node.move(1, one)
  node.presence.close()
  await new Promise((done) => setTimeout(done, 2 * limits.awarenessFrameMs))
  expect(two.frames).toBe(1)
})
