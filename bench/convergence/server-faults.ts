/** What goes wrong with servers: relays, redis-server and PostgreSQL are killed, stopped, cut off, rebuilt and upgraded. */
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import type { Step } from './history.ts'
import type { Oracle } from './oracle.ts'
import type { Person } from './run.ts'
import type { Timeline } from './timeline.ts'
import type { RelayNode, World } from './world.ts'

/** The history that is played, as faults see it. */
export interface Played {
  readonly world: World
  readonly oracle: Oracle
  readonly timeline: Timeline
  readonly people: readonly Person[]
  /** Nodes that take no clients, because what they have is being looked at. */
  readonly gated: Set<RelayNode>
  edit(person: Person, operation: Step['operations'][number]): void
  fault(kind: string, who: string, what: string): void
  /** Somebody who has nothing, over a good network, must have `promised`. */
  checkJoin(node: RelayNode, who: string, promised: readonly string[], isOpen?: boolean): Promise<unknown>
}

const armedMsMax = 400
const armedRounds = 8
const armedMs = 2
const isolatedMsMax = 700
const pausedMsMax = 900

export class ServerFaults {
  private readonly play: Played

  constructor(play: Played) {
    this.play = play
  }

  async killNode(node: RelayNode, when: string): Promise<void> {
    this.play.gated.add(node)
    this.play.fault('relay killed -9', node.name, `is killed with -9 (${when})`)
    await node.kill9()
    await turn()
    const promised = [...this.play.oracle.promised.keys()]
    await node.start()
    this.play.timeline.say(node.name, 'runs again')
    await this.play.checkJoin(node, `${node.name} after its kill`, promised)
    this.play.gated.delete(node)
  }

  /**
   * In the moment somebody is promised something: whatever was promised too early is lost. The disk is kept busy, with a paste and
   * everybody typing, so that there is something to come too early for.
   */
  async killPromised(person: Person, operations: Step['operations']): Promise<void> {
    const { node } = person
    let isPromised = false
    this.play.oracle.onPromise = () => {
      if (isPromised) return
      isPromised = true
      node.killNow()
    }
    const there = this.play.people.filter((each) => each.node === node)
    for (let round = 0; round < armedRounds; round++) {
      const operation = operations[round % operations.length]!
      if (round % 4 === 0) this.play.edit(person, { ...operation, kind: 'paste' })
      for (const each of there) this.play.edit(each, { ...operation, kind: 'type' })
      await sleep(armedMs)
      if (isPromised) break
    }
    const deadline = performance.now() + armedMsMax
    while (!isPromised && performance.now() < deadline) await sleep(1)
    this.play.oracle.onPromise = () => undefined
    await this.killNode(node, isPromised ? 'as soon as something was promised' : 'now')
  }

  async killStore(choice: number): Promise<void> {
    const { redis, postgres, nodes } = this.play.world
    const stores = [redis, postgres].filter((store) => store !== null)
    const store = stores[choice % Math.max(1, stores.length)]
    if (store === undefined) return this.killNode(nodes[0]!, 'now')
    this.play.fault(`${store.name} killed -9`, store.name, 'is killed with -9')
    await store.kill9()
    await turn()
    const promised = [...this.play.oracle.promised.keys()]
    await store.start()
    this.play.timeline.say(store.name, 'runs again')
    await this.play.world.ready()
    if (store === redis)
      await this.play.checkJoin(nodes[choice % nodes.length]!, 'who joins after it', promised, true)
  }

  /** A node and a store do not reach each other for a while: no byte moves, or the connections are reset. */
  async isolate(choice: number): Promise<void> {
    const { storeLines } = this.play.world
    const found = storeLines[choice % Math.max(1, storeLines.length)]
    if (found === undefined) return
    const { node, store, line } = found
    const isFrozen = choice % 3 > 0
    const what = `${isFrozen ? 'cannot reach' : 'loses'} ${store.name}`
    this.play.fault(`relay cut off from ${store.name}`, node.name, what)
    if (isFrozen) line.freeze()
    else line.cut('cut')
    await sleep(choice % isolatedMsMax)
    line.heal()
    this.play.timeline.say(node.name, `reaches ${store.name} again`)
  }

  /** A process does not run for a while, and then goes on as if no time had passed. */
  async pause(choice: number): Promise<void> {
    const { nodes, redis } = this.play.world
    const all = redis === null ? nodes : [...nodes, redis]
    const one = all[choice % all.length]!
    const kind = one === redis ? redis.name : 'relay'
    this.play.fault(`${kind} stands still`, one.name, 'stands still')
    await one.standStill(choice % pausedMsMax)
    this.play.timeline.say(one.name, 'goes on')
  }

  async rebuild(act: 'rebuild' | 'upgrade', choice: number): Promise<void> {
    const { world } = this.play
    const node = world.nodes[choice % world.nodes.length]!
    if (act === 'rebuild') {
      this.play.fault('views rebuilt', node.name, 'begins to rebuild the views')
      await fetch(`${node.url}/v1/views/rebuild`, { method: 'POST' })
      return
    }
    this.play.fault('adapter upgraded', 'world', 'has a newer adapter')
    world.upgrade()
    for (const each of world.nodes) await this.killNode(each, 'to load the newer adapter')
  }
}
