/**
 * One history, against a world. Clients of all kinds edit one document, each over a line of its own; an observer at each node
 * reads along. Checked at every step:
 *
 *   invariants   the rules of the domain hold at every replica
 *   one order    offsets are contiguous, and two nodes say the same of each
 * and whenever somebody joins, and after every kill before anybody comes back:
 *   promises     who joins has every edit that its author was told is durable, or that anybody else has seen
 * and at the end, when everything is whole again:
 *   equality     all replicas are equal, and equal to a document that applied every edit; their folds are
 *   once         what was sent again is in the log once; nothing is there that nobody made
 *   bounds       the processes are no larger than they may be; nothing is held for anybody who is up to date
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Engine } from './clients/engine.ts'
import { engines } from './clients/index.ts'
import { areDecided, areEqual, assertBounded, assertSame, differenceOf, type Outcome } from './ending.ts'
import type { History, Step } from './history.ts'
import { type Cut, NetworkLine } from './network-line.ts'
import { Observer } from './observer.ts'
import { type Author, Oracle, Violation } from './oracle.ts'
import type { Profile } from './profiles.ts'
import { type Random, randomOf } from './random.ts'
import { type Played, ServerFaults } from './server-faults.ts'
import { Tally, Timeline, until } from './timeline.ts'
import { checkViews, ViewsWatch } from './views.ts'
import type { RelayNode, World } from './world.ts'

export interface Failure extends Error {
  readonly timeline: Timeline
}

const people = ['ann', 'ben', 'cem', 'dov', 'eli']
const convergeMsMax = 120_000
const joinMsMax = 30_000
const waitMsMax = 60
const tokenWaitMsMax = 900
const tokenSeconds = 2
/** Behind, and ahead; a door refuses what was written too far ahead. */
const clockSkewMs = { behind: 3_600_000, ahead: 120_000 }
const retryMs = 200
/** So many Automerge histories there are to one whose document all make at once. */
const beginningsOf = 3

let histories = 0

export async function run(world: World, profile: Profile, history: History): Promise<Outcome> {
  const timeline = new Timeline()
  const play = new Play(world, profile, history, timeline)
  try {
    await play.start()
    for (const [i, step] of history.steps.entries()) {
      timeline.step = i + 1
      await play.step(step)
      play.check()
    }
    return await play.settle()
  } catch (error) {
    timeline.say('!', String(error))
    throw Object.assign(error instanceof Error ? error : new Error(String(error)), { timeline })
  } finally {
    await play.close()
  }
}

export interface Person extends Author {
  readonly line: NetworkLine
  /** Where the line leads to. */
  node: RelayNode
}

class Play implements Played {
  readonly world: World
  private readonly profile: Profile
  private readonly history: History
  readonly timeline: Timeline
  private readonly random: Random
  readonly engine: Engine
  readonly document: string
  readonly oracle: Oracle
  readonly people: Person[] = []
  private readonly observers: Observer[] = []
  private readonly faults = new Tally()
  /** Nodes that take no clients, because what they have is being looked at. */
  readonly gated = new Set<RelayNode>()
  private views: ViewsWatch | null = null
  private readonly servers = new ServerFaults(this)

  constructor(world: World, profile: Profile, history: History, timeline: Timeline) {
    this.world = world
    this.profile = profile
    this.history = history
    this.timeline = timeline
    this.random = randomOf(history.seed)
    this.engine = engines[history.engine ?? 'yjs']
    this.document = this.engine.documentId(`convergence/${process.pid}-${++histories}`)
    this.oracle = new Oracle(this.engine)
  }

  async start(): Promise<void> {
    const { world, document, timeline } = this
    const { kinds } = this.engine
    timeline.say(
      'world',
      `${world.name}, ${world.nodes.length} nodes, ${this.engine.name} document ${document}`,
    )
    const begins = this.engine.beginning !== null && this.history.seed % beginningsOf === 0
    if (this.engine.beginning !== null && !begins) await world.push(document, this.engine.beginning)
    for (const node of world.nodes) this.observers.push(await this.observe(`observer at ${node.name}`, node))
    if (world.postgres !== null) this.views = ViewsWatch.start(world.postgres.url, document, this.engine)
    for (const [i, name] of people.entries()) {
      const kind = kinds[i % kinds.length]!
      const at = { node: world.nodes[i % world.nodes.length]! }
      const target = (): number | null => (this.gated.has(at.node) ? null : at.node.port)
      const line = await NetworkLine.open(target, this.profile.quality, randomOf(this.random.below(2 ** 31)))
      if (begins) line.refuse()
      const replica = await kind.open({
        name,
        document,
        line,
        random: randomOf(this.random.below(2 ** 31)),
        clockSkewMs: this.random.below(clockSkewMs.behind + clockSkewMs.ahead) - clockSkewMs.behind,
        // The door of documents with rules takes an actor's facts in their order only.
        shuffle: world.postgres === null && this.history.seed % 2 === 0,
        begins,
        token: () => {
          if (world.name === 'tokens') this.faults.add('token renewed')
          // Some round trips must fit in.
          return world.token(name, tokenSeconds + Math.ceil(this.profile.quality.delayMs / 100))
        },
        onSaved: (edit) => {
          timeline.say(name, `is told that ${edit} is durable`)
          this.oracle.promise(edit, 'durable')
        },
        onWrong: (what) => this.oracle.wrong.push(`${name} (${kind.name}) ${what}`),
        say: (what) => timeline.say(name, what),
      })
      const person = Object.assign(at, { name, kind: kind.name, replica, line })
      this.people.push(person)
      this.oracle.authors.push(person)
    }
    const isReady = (): boolean => this.people.every(({ replica }) => replica.document.ready)
    await until('everybody has the document', isReady, joinMsMax)
    if (begins) this.beginTogether()
  }

  /** Nobody knows of anybody else. */
  private beginTogether(): void {
    this.fault('document begun by five at once', 'world', 'has five who begin the document, offline')
    for (const person of this.people)
      for (const kind of ['type', 'map', 'list', 'fact'] as const)
        this.edit(person, { kind, place: this.random.below(100), choice: this.random.below(100) })
    for (const { line, replica } of this.people) {
      line.heal()
      replica.online()
    }
  }

  private async observe(name: string, node: RelayNode): Promise<Observer> {
    const observer = new Observer(
      name.replaceAll(' ', '-'),
      node,
      this,
      await this.world.token('observer', 3_600),
      {
        onSeen: (edit) => this.oracle.promise(edit, `seen by ${name}`),
        onEntry: (offset, update) => this.oracle.entry(offset, update),
        onWrong: (what) => this.oracle.wrong.push(what),
      },
    )
    observer.start()
    return observer
  }

  async step({ act, client, choice, operations }: Step): Promise<void> {
    const person = this.people[client % this.people.length]!
    const { replica, line, name } = person
    switch (act) {
      case 'edit':
      case 'burst':
        for (const operation of operations) this.edit(person, operation)
        break
      case 'wait':
        // Long enough for tokens to end, where they do.
        await sleep(choice % (this.world.name === 'tokens' ? tokenWaitMsMax : waitMsMax))
        break
      case 'offline':
        this.fault('offline', name, 'works offline')
        replica.offline()
        break
      case 'online':
        if (line.broken) this.timeline.say(name, 'has a network again')
        else this.timeline.say(name, 'is online')
        line.heal()
        replica.online()
        break
      case 'cut':
      case 'answer':
      case 'ghost':
        this.cut(person, act)
        break
      case 'freeze':
        this.fault('partition', name, 'has no network, and is not told')
        line.freeze()
        break
      case 'reload':
        this.fault('page reloaded', name, 'loses the page, and opens it again')
        await replica.reload()
        break
      case 'repeat':
        if (replica.repeat(choice)) this.fault('update sent again', name, 'sends an old update again')
        break
      case 'join':
        await this.checkJoin(
          this.world.nodes[choice % this.world.nodes.length]!,
          'who joins',
          [...this.oracle.promised.keys()],
          true,
        )
        break
      case 'kill':
        await this.servers.killNode(this.world.nodes[choice % this.world.nodes.length]!, 'now')
        break
      case 'kill-promised':
        await this.servers.killPromised(person, operations)
        break
      case 'kill-store':
        await this.servers.killStore(choice)
        break
      case 'isolate':
        await this.servers.isolate(choice)
        break
      case 'pause':
        await this.servers.pause(choice)
        break
      case 'move':
        this.move(person)
        break
      case 'rebuild':
      case 'upgrade':
        if (this.views !== null) await this.servers.rebuild(act, choice)
        break
    }
    // What was sent travels while the next steps run, further with one choice than with another.
    await sleep(choice % 4 === 0 ? choice % 7 : 0)
  }

  edit({ replica, name }: Person, operation: Step['operations'][number]): void {
    const edit = replica.edit(operation)
    if (edit !== null) this.timeline.say(name, `${edit.what} (${edit.name})`)
  }

  fault(kind: string, who: string, what: string): void {
    this.faults.add(kind)
    this.timeline.say(who, what)
  }

  /** As when a balancer leads the next connection elsewhere. */
  private move(person: Person): void {
    const { nodes } = this.world
    if (nodes.length === 1) return
    person.node = nodes[(nodes.indexOf(person.node) + 1) % nodes.length]!
    this.fault('led to another relay', person.name, `is led to ${person.node.name}`)
    person.line.cut('cut')
  }

  private cut({ line, name }: Person, how: Cut): void {
    if (!line.cut(how)) return
    const said = {
      cut: ['connection cut', 'loses the connection and what was under way'],
      answer: ['answer lost', 'loses the connection; what was sent arrives, the answer does not'],
      ghost: ['delivered late', 'loses the connection; what was sent arrives later'],
    } as const
    this.fault(said[how][0], name, said[how][1])
  }

  // --- checks ---------------------------------------------------------------------------------------

  check(): void {
    const { wrong } = this.oracle
    if (wrong.length > 0) throw new Violation(wrong.join('; '))
    for (const { name, replica } of this.people) {
      const [broken] = replica.document.broken()
      if (broken !== undefined) throw new Violation(`a rule is broken at ${name}: ${broken}`)
    }
  }

  /**
   * Somebody who has nothing, over a good network. Who joins a room that is open is told what the room knows, and what another node
   * has promised meanwhile as soon as the room hears of it; who joins the first room after a start is told all at once.
   */
  async checkJoin(
    node: RelayNode,
    who: string,
    promised: readonly string[],
    isOpen = false,
  ): Promise<Observer> {
    const joiner = await this.observe(`joiner-${this.random.below(1_000_000)}`, node)
    const hasAll = (): boolean => {
      const { edits } = joiner.read()
      return promised.every((edit) => edits.has(edit))
    }
    try {
      await until(`${who} is answered by ${node.name}`, () => joiner.isLive, joinMsMax)
      // What it lacks when the time is up is told below.
      if (isOpen) await until('it hears of the rest', hasAll, joinMsMax).catch(() => undefined)
      this.oracle.assertHas(joiner.read(), promised, `${who} at ${node.name}`)
      this.timeline.say(node.name, `gives ${who} all ${promised.length} promised edits`)
      return joiner
    } finally {
      joiner.close()
    }
  }

  async settle(): Promise<Outcome> {
    const { world, oracle, timeline } = this
    timeline.step++
    timeline.say('world', 'is whole again')
    await world.ready()
    const startedMs = performance.now()
    let convergeMs = 0
    const isSettled = (): boolean => {
      const isEqual = this.isEqual()
      if (isEqual && convergeMs === 0) convergeMs = performance.now() - startedMs
      return isEqual && (this.views === null || areDecided(this.people))
    }
    for (const { line } of this.people) line.heal()
    for (const { replica } of this.people) replica.online()
    const nudge = setInterval(() => {
      for (const { replica } of this.people) if (!replica.connected) replica.online()
    }, retryMs)
    try {
      await until('all are equal', isSettled, convergeMsMax)
    } catch (error) {
      if (error instanceof Violation) throw error
      throw new Violation(
        `not equal within ${convergeMsMax} ms: ${differenceOf(this.people, this.observers)}`,
      )
    } finally {
      clearInterval(nudge)
    }
    const decidedMs = this.views === null ? null : performance.now() - startedMs
    timeline.say('world', `all are equal after ${convergeMs.toFixed(0)} ms`)
    if (decidedMs !== null) timeline.say('world', `has decided everything after ${decidedMs.toFixed(0)} ms`)
    this.check()

    const promised = [...oracle.promised.keys()]
    const content = this.people[0]!.replica.document.read()
    const fold = this.people[0]!.replica.document.fold()
    for (const { name, replica } of this.people) oracle.assertHas(replica.document.read(), promised, name)
    oracle.assertNothingInvented(content)
    for (const node of world.nodes) {
      const joiner = await this.checkJoin(node, 'who joins at the end', promised)
      oracle.assertLostOnly(joiner.reading.waitsFor(), content, `who joins at ${node.name}`)
      assertSame(joiner.read().json, content.json, `who joins at ${node.name}`, 'ann')
    }
    const expected = oracle.expected(content.edits, this.observers[0]!.reading.decisions())
    if (expected.waitsFor.length > 0) throw new Violation('the oracle lacks what an edit builds on')
    const part = this.people.some(({ replica }) => replica.document.tidied) ? 'unmarked' : 'made'
    assertSame(content[part], expected.content[part], 'ann', 'the oracle')
    for (const { name, replica } of this.people)
      assertSame(replica.document.fold(), fold, `the fold of ${name}`, 'that of ann')
    // Decisions are facts that no replica made.
    if (this.views === null) assertSame(fold, expected.fold, 'the fold of ann', 'that of the oracle')
    oracle.assertNoneTwice(['tidemark'])
    if (this.views !== null)
      await checkViews(
        world,
        this.views,
        oracle,
        this.observers[0]!,
        content,
        fold,
        this.history.seed % 3 === 0,
        timeline,
      )
    this.check()
    for (const node of world.nodes) await assertBounded(node, this.faults)
    const bytes = new Tally()
    for (const { kind, line } of this.people) {
      const alike = this.people.filter((each) => each.kind === kind).length
      bytes.add(kind, Math.round((line.bytes.up + line.bytes.down) / alike))
    }
    return {
      steps: this.history.steps.length,
      edits: this.people.reduce((sum, { replica }) => sum + replica.edits.length, 0),
      promised: promised.length,
      offsets: this.observers[0]!.offset,
      faults: this.faults,
      bytes,
      convergeMs,
      decidedMs,
    }
  }

  private isEqual(): boolean {
    this.check()
    if (!this.people.every(({ replica }) => replica.settled)) return false
    if (!this.observers.every((observer) => observer.isLive)) return false
    return areEqual(this.people, this.observers)
  }

  async close(): Promise<void> {
    this.oracle.onPromise = () => undefined
    await this.views?.close()
    for (const observer of this.observers) observer.close()
    for (const { line, replica } of this.people) {
      await replica.close()
      await line.close()
    }
  }
}
