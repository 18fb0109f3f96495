/**
 * The whole relay against a model, for each engine. Devices edit two documents, offline and on; they hold updates back,
 * send them in another order and again, disconnect, come back, or are lost for good with what they
 * have not sent; meanwhile the relay compacts all the time and fails at any point. Every other run
 * begins with documents that have been compacted. Then:
 *
 *   nothing lost      who joins has every update that the relay ever sent to anybody, and everything that
 *                     devices still hold; also in the middle of it, and though the author's device is lost
 *   nothing invented  every struct or change that the relay sent was produced by a device
 *   nothing skipped   who is connected gets, without a new handshake, what others got and its own back
 *   one state         joiners, devices and a document that applied the original updates are equal
 *   one order         any two connections got what both got in the same order, without gap
 *   one engine        a client of the other engine is refused
 *
 * A failing run prints its seed and path and is shrunk; TIDEMARK_TEST_SEED and FC_RUNS repeat it or run longer.
 */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runs } from '../core/engine/support.ts'
import { until } from '../support/wait.ts'
import { AutomergeObserved } from './automerge-devices.ts'
import type { Device, Foreign, Joiner, Observed } from './observed.ts'
import { embeddedRelays, killedRelays, type Relays, twoNodes } from './relays.ts'
import { YjsObserved } from './yjs-devices.ts'

type Observe = (id: string) => Observed
const yjs: Observe = (id) => new YjsObserved(id)
const automerge: Observe = (id) => new AutomergeObserved(id)
const [embedded, killed, two] = [
  'embedded, failing at steps of its log and shutting down',
  'embedded, killed with -9',
  'two nodes over Redis, any of the three killed with -9',
]
const variants = [
  { name: `yjs, ${embedded}`, observe: yjs, open: embeddedRelays, numRuns: 25 },
  { name: `yjs, ${killed}`, observe: yjs, open: killedRelays, numRuns: 7 },
  { name: `yjs, ${two}`, observe: yjs, open: twoNodes, numRuns: 7 },
  { name: `automerge, ${embedded}`, observe: automerge, open: embeddedRelays, numRuns: 12 },
  { name: `automerge, ${killed}`, observe: automerge, open: killedRelays, numRuns: 5 },
  { name: `automerge, ${two}`, observe: automerge, open: twoNodes, numRuns: 5 },
]
const devicesCount = 6
const testMsMax = 660_000
/** Shrinking ends here, and what it has found by then is printed. */
const timeLimit = { interruptAfterTimeLimit: 600_000, markInterruptAsFailure: true }

type Command = readonly [device: number, action: number, kind: number, place: number, choice: number]
const commands: fc.Arbitrary<Command[]> = fc.array(
  fc.tuple(
    fc.nat({ max: devicesCount - 1 }),
    fc.nat({ max: 99 }),
    fc.nat({ max: 69 }),
    fc.nat({ max: 1000 }),
    fc.nat({ max: 1000 }),
  ),
  { minLength: 1, maxLength: 150, size: 'max' },
)

describe.concurrent.each(variants)('$name', ({ observe, open, numRuns }) => {
  let relays: Relays
  let run = 0
  beforeAll(async () => {
    relays = await open()
  })
  afterAll(() => relays.close())

  test('every joiner has the state of a document that applied everything', {
    timeout: testMsMax,
  }, async () => {
    let compared = 0
    const property = fc.asyncProperty(commands, async (history) => {
      const model = new Model(relays, observe, run++)
      try {
        await model.connectAll()
        if (run % 2 === 1) await model.compactAll()
        for (const command of history) await model.play(command)
        await model.settle()
        compared += model.checkOrder()
      } finally {
        model.close()
      }
    })
    await fc.assert(property, { ...runs(numRuns), ...timeLimit })
    expect(compared, 'updates that two connections got').toBeGreaterThan(numRuns)
  })
})

class Model {
  private readonly relays: Relays
  private readonly documents: readonly Observed[]
  private readonly devices: Device[]
  private readonly joiners: Joiner[] = []
  private deviceNumbers = 1

  constructor(relays: Relays, observe: Observe, run: number) {
    this.relays = relays
    this.documents = ['a', 'b'].map((name) => observe(`property/${run}/${name}`))
    this.devices = Array.from({ length: devicesCount }, (_, i) => this.newDevice(this.documents[i % 2]!))
  }

  async connectAll(): Promise<void> {
    for (const [i, device] of this.devices.entries())
      await until('a device is connected', () => device.connect(this.url(i)))
  }

  /**
   * Devices type until there was enough for it. Not later in a run: the lease of a node that was killed while
   * it compacted keeps a document from being compacted for many seconds.
   */
  async compactAll(): Promise<void> {
    for (const [i, { id }] of this.documents.entries())
      await until('a document is compacted', () => {
        if (this.relays.compactions(id) > 0) return true
        this.devices[i]!.edit(0, 0, 0)
        this.devices[i]!.sendHeld()
        return false
      })
  }

  async play([index, action, kind, place, choice]: Command): Promise<void> {
    const device = this.devices[index]!
    if (action < 60) device.edit(kind, place, choice)
    if (action < 45) device.sendHeld()
    else if (action < 60) return
    else if (action < 66) device.sendAny(choice)
    else if (action < 71) device.sendHeld(true)
    else if (action < 76) device.disconnect()
    else if (action < 88) await device.connect(this.url(choice))
    else if (action < 92) {
      if (choice % 2 === 0) await device.acknowledged()
      device.disconnect()
      this.devices[index] = this.newDevice(device.observed)
    } else if (action < 95) await this.checkJoin(device.observed, choice)
    else if (action < 98) {
      await this.relays.fail(choice)
      // Before any device comes back and makes good what the relay had lost.
      for (const observed of this.documents) await this.checkJoin(observed, choice)
    }
    // What was sent travels while the next commands run, further with one choice than with another.
    for (let turn = choice % 4; turn > 0; turn--) await new Promise((resolve) => setImmediate(resolve))
  }

  /** Everybody comes back; whatever was promised or is held by a device ends up everywhere. */
  async settle(): Promise<void> {
    this.relays.heal()
    for (const device of this.devices) await device.caughtUp()
    await this.connectAll()
    for (const observed of this.documents) {
      const devices = this.devices.filter((device) => device.observed === observed)
      const joiner = await this.join(observed, this.devices.length)
      const everything = () => [...observed.promised, ...devices.flatMap((device) => device.produced)]
      await until('the joiner has everything', () => joiner.has(everything()))
      await until('the devices have everything', () => devices.every((device) => device.has(everything())))
      const late = await this.join(observed, this.devices.length + 1)
      const joiners = [joiner, late]
      const haveEverything = () => joiners.every((each) => each.has(everything()))
      await until('who joins late has everything', haveEverything)

      const expected = observed.expected(late)
      for (const each of joiners) expect(each.content()).toEqual(expected)
      for (const each of [...devices, ...joiners]) expect(each.json()).toBe(expected.json)
      expect(observed.wrongs()).toEqual([])
      // Of no engine yet, as long as nobody has written.
      if (devices.some(({ produced }) => produced.length > 0)) await this.checkForeigner(observed)
    }
  }

  private async checkForeigner(observed: Observed): Promise<void> {
    let became: Foreign | null = null
    await until('an answer to a client of the other engine', async () => {
      became = await observed.foreign(this.url(0))
      return became !== null
    })
    expect(became).toBe('wrong_engine')
  }

  /** In the middle of everything: what anybody has seen by now reaches who joins now, on any node. */
  private async checkJoin(observed: Observed, choice: number): Promise<void> {
    const promised = [...observed.promised]
    const joiner = await observed.join(this.url(choice))
    if (joiner === null) return
    this.joiners.push(joiner)
    await until('who joins has what was promised', () => !joiner.connected || joiner.has(promised))
    // Every other one stays and watches.
    if (choice % 2 === 0) joiner.close()
  }

  /** Gives how many updates were compared. */
  checkOrder(): number {
    return this.documents.reduce((sum, observed) => sum + observed.checkOrder(), 0)
  }

  close(): void {
    for (const device of this.devices) device.disconnect()
    for (const joiner of this.joiners) joiner.close()
  }

  private async join(observed: Observed, node: number): Promise<Joiner> {
    let joined: Joiner | null = null
    await until('a joiner is in', async () => {
      joined = await observed.join(this.url(node))
      return joined !== null
    })
    this.joiners.push(joined!)
    return joined!
  }

  private newDevice(observed: Observed): Device {
    return observed.newDevice(this.deviceNumbers++)
  }

  private url(choice: number): string {
    const urls = this.relays.urls()
    return urls[choice % urls.length]!
  }
}
