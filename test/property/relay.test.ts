/**
 * The whole relay against a model. Devices edit two documents, offline and on; they hold updates back,
 * send them in another order and again, disconnect, come back, or are lost for good with what they
 * have not sent; meanwhile the relay compacts all the time and fails at any point. Every other run
 * begins with documents that have been compacted. Then:
 *
 *   nothing lost      who joins has every update that the relay ever sent to anybody, and everything that
 *                     devices still hold; also in the middle of it, and though the author's device is lost
 *   nothing invented  every struct that the relay sent was produced by a device
 *   nothing skipped   who is connected gets, without a new handshake, what others got and its own back
 *   one state         joiners, devices and a Y.Doc that applied the original updates are equal
 *   one order         any two connections got what both got in the same order, without gap
 *
 * A failing run prints its seed and path and is shrunk; FC_SEED and FC_RUNS repeat it or run longer.
 */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import { replicaOf } from '../core/engine/random-documents.ts'
import { contentOf, runs } from '../core/engine/support.ts'
import type { RawClient } from '../support/raw-client.ts'
import { until } from '../support/wait.ts'
import { coverageOf, Device, Observed, outlineOf } from './devices.ts'
import { embeddedRelays, killedRelays, type Relays, twoNodes } from './relays.ts'

const variants = [
  { name: 'embedded, failing at steps of its log and shutting down', open: embeddedRelays, numRuns: 25 },
  { name: 'embedded, killed with -9', open: killedRelays, numRuns: 7 },
  { name: 'two nodes over Redis, any of the three killed with -9', open: twoNodes, numRuns: 7 },
]
const devicesCount = 6
const testMsMax = 180_000
/** Shrinking ends here, and what it has found by then is printed. */
const timeLimit = { interruptAfterTimeLimit: 120_000, markInterruptAsFailure: true }

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

describe.each(variants)('$name', ({ open, numRuns }) => {
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
      const model = new Model(relays, run++)
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
  private readonly clients: RawClient[] = []
  private clientIds = 1

  constructor(relays: Relays, run: number) {
    this.relays = relays
    this.documents = ['a', 'b'].map((name) => new Observed(`property/${run}/${name}`))
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
      const has = (doc: Y.Doc): boolean => covers([Y.encodeStateAsUpdate(doc)], everything())
      await until('the joiner has everything', () => covers(joiner.received, everything()))
      await until('the devices have everything', () => devices.every(({ doc }) => has(doc)))
      const late = await this.join(observed, this.devices.length + 1)
      const joiners = [joiner, late]
      const haveEverything = () => joiners.every(({ received }) => covers(received, everything()))
      await until('who joins late has everything', haveEverything)

      const stored = coverageOf([Y.encodeStateAsUpdate(replicaOf(late.received))])
      const originals = observed.produced.filter((update) => stored.covers(outlineOf(update)))
      const expected = contentOf(replicaOf([...originals, ...observed.promised]))
      for (const { received } of joiners) expect(contentOf(replicaOf(received))).toEqual(expected)
      for (const { doc } of [...devices, ...joiners]) expect(contentOf(doc).json).toBe(expected.json)

      const produced = coverageOf(observed.produced)
      for (const update of observed.promised) {
        const { structs } = outlineOf(update)
        expect(produced.missing({ structs, deletes: [] }).structs, 'structs nobody produced').toEqual([])
      }
    }
  }

  /** In the middle of everything: what anybody has seen by now reaches who joins now, on any node. */
  private async checkJoin(observed: Observed, choice: number): Promise<void> {
    const promised = [...observed.promised]
    const joiner = await observed.connect(this.url(choice), new Y.Doc())
    if (joiner === null) return
    this.clients.push(joiner)
    await until(
      'who joins has what was promised',
      () => joiner.closeCode !== null || covers(joiner.received, promised),
    )
    // Every other one stays and watches.
    if (choice % 2 === 0) joiner.close()
  }

  /** Gives how many updates were compared. */
  checkOrder(): number {
    let compared = 0
    for (const observed of this.documents) {
      const sequences = observed.ordered()
      for (const [i, one] of sequences.entries()) {
        for (const other of sequences.slice(i + 1)) {
          const shared = overlap(one, other)
          expect(shared).toEqual(overlap(other, one))
          compared += shared.length
        }
      }
    }
    return compared
  }

  close(): void {
    for (const device of this.devices) device.disconnect()
    for (const client of this.clients) client.close()
  }

  private async join(observed: Observed, node: number): Promise<RawClient> {
    let joined: RawClient | null = null
    await until('a joiner is in', async () => {
      joined = await observed.connect(this.url(node), new Y.Doc())
      return joined !== null
    })
    this.clients.push(joined!)
    return joined!
  }

  private newDevice(observed: Observed): Device {
    return new Device(observed, this.clientIds++)
  }

  private url(choice: number): string {
    const urls = this.relays.urls()
    return urls[choice % urls.length]!
  }
}

/** As documents: snapshots also say the deletes that follow from the structs, which their updates leave unsaid. */
function covers(updates: readonly Uint8Array[], others: readonly Uint8Array[]): boolean {
  const coverage = coverageOf([Y.encodeStateAsUpdate(replicaOf(updates))])
  return others.every((update) => coverage.covers(outlineOf(update)))
}

/** From the first to the last of what both have: all of it. */
function overlap(one: readonly string[], other: readonly string[]): readonly string[] {
  const both = new Set(other)
  const shared = (key: string): boolean => both.has(key)
  return one.slice(one.findIndex(shared), one.findLastIndex(shared) + 1)
}
