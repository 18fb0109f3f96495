/** What sessions say to each other beside edits: to all others of their dialect, in order, and in few writes. */
import { expect, test } from 'vitest'
import type { DocumentId } from '../../../core/document-id.ts'
import type { Log } from '../../../server/log/log.ts'
import type { Dialect } from '../../../server/room/dialect.ts'
import { PresencePace } from '../../../server/room/presence-pace.ts'
import { RoomBroadcast } from '../../../server/room/room-broadcast.ts'
import type { Session } from '../../../server/room/session.ts'
import { Tick } from '../../../server/room/tick.ts'
import { until } from '../../support/wait.ts'

const plain = (name: string) =>
  ({
    name,
    broadcast: (payloads: readonly string[]) => Buffer.from(`${payloads.join('\n')}\n`),
  }) as Partial<Dialect> as Dialect
const [one, other, mute] = [plain('one'), plain('other'), { name: 'mute' } as Dialect]

class Person {
  state = 'live'
  full = false
  readonly writes: string[] = []
  readonly dialect: Dialect

  constructor(dialect: Dialect) {
    this.dialect = dialect
  }

  get heard(): readonly string[] {
    return this.writes.flatMap((text) => text.split('\n').slice(0, -1))
  }

  write(bytes: Uint8Array): void {
    this.writes.push(Buffer.from(bytes).toString())
  }
}

class Node {
  readonly people = new Set<Person>()
  readonly published: Uint8Array[] = []
  readonly broadcast: RoomBroadcast

  constructor() {
    const log = { publish: (_, bytes) => void this.published.push(bytes) } as Log
    const sessions = this.people as ReadonlySet<unknown> as ReadonlySet<Session>
    const context = { log, tick: new Tick(), pace: new PresencePace(50) }
    this.broadcast = new RoomBroadcast('a' as DocumentId, sessions, context)
  }

  come(dialect: Dialect): Person {
    const person = new Person(dialect)
    this.people.add(person)
    return person
  }

  say(person: Person, payload: string): void {
    this.broadcast.send(person as unknown as Session, payload)
  }
}

test('what is said in one turn goes to all others of the dialect in one write each, in order, and not to its author', async () => {
  const node = new Node()
  const [ann, bob, cas] = [node.come(one), node.come(one), node.come(one)]
  const [eva, mia] = [node.come(other), node.come(mute)]
  for (let i = 0; i < 100; i++) node.say(i % 3 === 0 ? ann : bob, `${i}`)
  node.say(eva, 'to nobody')
  expect(cas.writes).toEqual([])
  await until('it is heard', () => cas.writes.length > 0)
  const all = Array.from({ length: 100 }, (_, i) => i)
  expect(cas.heard).toEqual(all.map(String))
  expect(ann.heard).toEqual(all.filter((i) => i % 3 !== 0).map(String))
  expect(bob.heard).toEqual(all.filter((i) => i % 3 === 0).map(String))
  for (const person of [ann, bob, cas]) expect(person.writes).toHaveLength(1)
  for (const person of [eva, mia]) expect(person.writes).toEqual([])
})

test('what is said later comes too, however often and on whichever node', async () => {
  const [here, there] = [new Node(), new Node()]
  const [ann, bob, cas] = [here.come(one), here.come(one), there.come(one)]
  for (let i = 0; i < 20; i++) {
    here.say(ann, `${i}`)
    await new Promise((resolve) => setImmediate(resolve))
  }
  for (const bytes of here.published) expect(there.broadcast.hear(bytes)).toBe(true)
  const all = Array.from({ length: 20 }, (_, i) => `${i}`)
  await until('all is heard', () => bob.heard.length === 20 && cas.heard.length === 20)
  expect(bob.heard).toEqual(all)
  expect(cas.heard).toEqual(all)
  expect(ann.writes).toEqual([])
})

test('much does not wait, and who cannot take it or has gone gets nothing', async () => {
  const node = new Node()
  const [ann, bob, slow, gone] = [node.come(one), node.come(one), node.come(one), node.come(one)]
  slow.full = true
  gone.state = 'closed'
  const large = 'x'.repeat(40 * 1024)
  node.say(ann, large)
  expect(bob.writes).toEqual([])
  node.say(ann, large)
  expect(bob.heard).toEqual([large, large])
  node.say(ann, 'last')
  await until('the last is heard', () => bob.heard.includes('last'))
  for (const person of [slow, gone]) expect(person.writes).toEqual([])
})
