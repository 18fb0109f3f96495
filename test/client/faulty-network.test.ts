/**
 * Five clients edit two documents through a network that fails (faulty-socket.ts), flips between online and offline, and
 * pages that are killed and come back with what they had stored. The door, the rooms and the log are the server's own; the
 * sockets are in memory and time is virtual, so that hundreds of such stories take seconds. Then:
 *
 *   converged       everybody has the same, and it is what the log says
 *   nothing lost    the log has every edit that `saved()` has resolved for
 *   nothing twice   the log has each struct (of Automerge: each change) once, whatever was resent
 *   no false alarm  no edit is still pending, none was refused
 *
 * A failing run names its seed; CLIENT_SEED repeats it, CLIENT_SEEDS runs so many.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createClientIn } from '../../client/create-client.ts'
import type { Environment, PageEvent } from '../../client/environment.ts'
import { createIndexedDbStorage } from '../../client/storage/indexeddb.ts'
import { createMemoryStorage } from '../../client/storage/memory.ts'
import type { Storage } from '../../client/storage/storage.ts'
import type { Client } from '../../client/types.ts'
import { parseDocumentId } from '../../core/document-id.ts'
import { randomOf } from '../support/seed.ts'
import { Browser } from './browser.ts'
import { type Door, openDoor } from './door.ts'
import { type Faults, FaultySocket } from './faulty-socket.ts'
import { type AnyHandle, automergeDocuments, type StoryDocuments, yjsDocuments } from './story-documents.ts'
import { VirtualTime } from './virtual-time.ts'

const variants = [
  { name: 'each on a device of its own', browsers: 5, seedsCount: 30, kind: yjsDocuments },
  { name: 'tabs of two browsers', browsers: 2, seedsCount: 6, kind: yjsDocuments },
  { name: 'Automerge, each on a device of its own', browsers: 5, seedsCount: 2, kind: automergeDocuments },
  { name: 'Automerge, tabs of two browsers', browsers: 2, seedsCount: 1, kind: automergeDocuments },
]
const seedsAsked = process.env['CLIENT_SEEDS']
const onlySeed = process.env['CLIENT_SEED']
const clientsCount = 5
const editsCount = 200
/** Stories told at a time: they share the log's commits. */
const atATime = 10
/** Of virtual time, from the last edit until everybody has everything. */
const healMsMax = 600_000

let door: Door
beforeAll(async () => {
  door = await openDoor()
})
afterAll(() => door.close())

test.each(variants)(
  '$name: all converge, no saved edit is missing, each is in the log once',
  {
    timeout: 900_000,
  },
  async ({ browsers, seedsCount, kind }) => {
    const seeds =
      onlySeed === undefined
        ? Array.from({ length: Number(seedsAsked ?? seedsCount) }, (_, i) => i + 1)
        : [Number(onlySeed)]
    const { length: count } = seeds
    let faults = 0
    let saved = 0
    const tell = async (): Promise<void> => {
      for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) {
        const story = new Story(seed, browsers, kind)
        try {
          await story.tell()
          faults += story.lost
          saved += story.saved.size
        } catch (error) {
          seeds.length = 0
          throw new Error(`CLIENT_SEED=${seed}: ${String(error)}`, { cause: error })
        }
      }
    }
    await Promise.all(Array.from({ length: atATime }, tell))
    expect(faults, 'connections that were lost').toBeGreaterThan(count * 20)
    expect(saved, 'edits that were saved before their page was killed').toBeGreaterThan(count * 300)
  },
)

class Story {
  readonly time = new VirtualTime()
  readonly random: () => number
  readonly faults: Faults
  readonly documents: readonly string[]
  readonly saved = new Set<string>()
  lost = 0
  readonly kind: StoryDocuments
  private readonly prefix: string
  private readonly people: Person[]
  private editing = clientsCount

  constructor(seed: number, browsers: number, kind: StoryDocuments) {
    this.kind = kind
    this.prefix = `${variants.findIndex((one) => one.kind === kind)}.${browsers}.${seed}/`
    this.random = randomOf(seed)
    const { time, random } = this
    this.faults = { time, random, lossShare: 0.02, delayMsMax: 500 }
    this.documents = [`${this.prefix}a`, `${this.prefix}b`]
    const shared = browsers === clientsCount ? [] : Array.from({ length: browsers }, () => new Browser())
    this.people = Array.from(
      { length: clientsCount },
      (_, i) => new Person(this, `p${i}`, shared[i % browsers] ?? null),
    )
  }

  async tell(): Promise<void> {
    for (const person of this.people) person.live(() => this.editing--)
    await this.goOnUntil('everything is edited', () => this.editing === 0)
    this.faults.lossShare = 0
    for (const person of this.people) person.heal()
    const healed = (): boolean => this.people.every((person) => person.done) && this.converged
    await this.goOnUntil('everybody has everything', healed)
    for (const document of this.documents) await this.check(document)
    await Promise.all(this.people.map((person) => person.end()))
  }

  /** Less than `max`. */
  pick(max: number): number {
    return Math.floor(this.random() * max)
  }

  private async goOnUntil(what: string, condition: () => boolean): Promise<void> {
    const untilMs = this.time.nowMs + healMsMax
    while (!condition()) {
      if (!this.time.step() || this.time.nowMs > untilMs)
        throw new Error(`not so: ${what}\n${this.people.map((person) => person.describe()).join('\n')}`)
      await door.settled(this.prefix)
    }
  }

  private get converged(): boolean {
    return this.documents.every((document) => {
      const versions = this.people.map((person) => this.kind.contentOf(person.handle(document)!.doc))
      return versions.every((content) => content === versions[0])
    })
  }

  private async check(document: string): Promise<void> {
    const { tail, snapshot } = await door.log.load(parseDocumentId(document))
    expect(snapshot).toBeNull()
    const { doc, edits } = this.kind.replay(tail.map(({ update }) => update))
    for (const edit of this.saved)
      if (edit.startsWith(document) && !edits.has(edit)) throw new Error(`${edit} was saved, and is gone`)
    expect(this.kind.contentOf(doc)).toBe(this.kind.contentOf(this.people[0]!.handle(document)!.doc))
  }
}

class Person {
  private readonly story: Story
  private readonly name: string
  private readonly storage: Storage
  private readonly browser: Browser | null
  /** What the page holds of its browser. */
  private readonly held = new Set<() => void>()
  private client!: Client
  private handles = new Map<string, AnyHandle>()
  private listener: ((event: PageEvent) => void) | null = null
  private socket: FaultySocket | null = null
  private network = true
  private page = 0
  private edits = 0
  private healed = false

  /** Without a browser that is shared, what is stored is in memory, and there are no other tabs. */
  constructor(story: Story, name: string, browser: Browser | null) {
    this.story = story
    this.name = name
    this.browser = browser
    this.storage = browser === null ? createMemoryStorage() : createIndexedDbStorage(browser.indexedDB)
    this.open()
  }

  /** Edits now and then, and meets with accidents, until there were enough edits. */
  live(done: () => void): void {
    const { time } = this.story
    const next = (): void => {
      this.edit()
      if (this.edits === editsCount) return done()
      time.after(this.story.pick(10) === 0 ? this.story.pick(1_000) : this.story.pick(60), next)
    }
    const accident = (): void => {
      if (this.healed) return
      this.meetAccident(this.story.pick(6))
      time.after(500 + this.story.pick(4_000), accident)
    }
    next()
    time.after(this.story.pick(2_000), accident)
  }

  /** Undefined as long as its engine is being loaded. */
  handle(document: string): AnyHandle | undefined {
    return this.handles.get(document)
  }

  get done(): boolean {
    const { handles, story } = this
    if (handles.size < story.documents.length) return false
    return [...handles.values()].every(({ status, pending }) => status === 'live' && pending === 0)
  }

  heal(): void {
    this.healed = true
    this.flip(true)
    this.client.resume()
  }

  async end(): Promise<void> {
    this.page++
    this.socket?.cut()
    await this.client.close()
  }

  describe(): string {
    const { documents, events, ...rest } = { ...this.client.inspect(), events: this.client.events }
    return `${this.name} ${JSON.stringify(rest)}\n${JSON.stringify(documents)}\n${JSON.stringify(events.slice(-20))}`
  }

  private open(): void {
    const page = ++this.page
    const { story } = this
    const isMine = (): boolean => this.page === page
    const person = this
    const environment: Environment = {
      now: () => story.time.nowMs,
      random: () => story.random(),
      newName: () => `${this.name}.${page}.${story.pick(1_000_000_000)}`,
      after: (delayMs, then) => story.time.after(delayMs, () => void (isMine() && then())),
      webSocket: async () =>
        class extends FaultySocket {
          constructor() {
            super(story.faults, person.network && isMine() ? (end) => door.accept(end) : null)
            person.socket = this
          }
          override cut(): void {
            story.lost++
            super.cut()
          }
        },
      indexedDB: null,
      locks: this.browser?.locks.of(this.held) ?? null,
      channel: (name) => {
        const channel = this.browser?.channel(name) ?? null
        if (channel !== null) this.held.add(() => channel.kill())
        return channel
      },
      online: () => this.network,
      listen: (listener) => {
        this.listener = listener
        return () => undefined
      },
    }
    this.client = createClientIn(environment, { url: 'ws://relay', storage: this.storage })
    const handles = new Map<string, AnyHandle>()
    this.handles = handles
    for (const document of story.documents)
      story.kind.open(this.client, document, (handle) => handles.set(document, handle))
  }

  private edit(): void {
    const { story } = this
    const document = story.documents[story.pick(2)]!
    const handle = this.handle(document)
    if (handle === undefined) return
    const name = `${document}/${this.name}/${this.edits++}`
    story.kind.edit(handle, name, (max) => story.pick(max))
    expect(handle.pending).toBeGreaterThan(0)
    const page = this.page
    // Rejects when the page is closed before.
    handle.saved().then(
      () => story.saved.add(name),
      (error: unknown) => {
        if (page === this.page) throw error
      },
    )
  }

  private meetAccident(kind: number): void {
    const { time } = this.story
    switch (kind) {
      case 0:
        return this.socket?.cut()
      case 1:
        return this.flip(!this.network)
      case 2:
        for (let i = 0; i < 7; i++) time.after(i * 30, () => this.flip(i % 2 === 1 || this.healed))
        return
      case 3:
        this.client.pause()
        time.after(this.story.pick(3_000), () => this.client.resume())
        return
      case 4:
        this.socket?.cut()
        this.socket = null
        for (const release of [...this.held]) release()
        this.held.clear()
        return this.open()
      case 5:
        return this.client.retry()
    }
  }

  private flip(network: boolean): void {
    this.network = network
    if (!network) this.socket?.cut()
    this.listener?.(network ? 'online' : 'offline')
  }
}
