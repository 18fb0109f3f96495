/** The connection on virtual time, against the server's door: silence, size, presence, and who is asked for what when. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createClientIn } from '../../client/create-client.ts'
import { browserOrNode } from '../../client/environment.ts'
import type { Client, ClientOptions, Handle } from '../../client/types.ts'
import { type Door, openDoor } from './door.ts'
import { type Faults, FaultySocket } from './faulty-socket.ts'
import { VirtualTime } from './virtual-time.ts'

const updateBytesMax = 400_000

let door: Door
let time: VirtualTime
let clients: Client[]
/** The network: taken away, or one that swallows whatever the server says. */
let network: 'good' | 'none' | 'deaf'
let sockets: FaultySocket[]

beforeEach(async () => {
  door = await openDoor(updateBytesMax)
  time = new VirtualTime()
  clients = []
  sockets = []
  network = 'good'
})
afterEach(async () => {
  for (const socket of sockets) socket.cut()
  await Promise.all(clients.map((client) => client.close()))
  await door.close()
})

function newClient(options: Partial<ClientOptions> = {}): Client {
  const faults: Faults = { time, random: () => 0.5, lossShare: 0, delayMsMax: 10 }
  class Socket extends FaultySocket {
    constructor() {
      super(faults, network === 'none' ? null : (end) => door.accept(end))
      sockets.push(this)
    }
    override fromServer(frame: Buffer): void {
      if (network !== 'deaf') super.fromServer(frame)
    }
  }
  const environment = {
    ...browserOrNode(undefined),
    now: () => time.nowMs,
    random: () => 0.5,
    after: time.after,
    webSocket: async () => Socket,
    listen: () => () => undefined,
  }
  const client = createClientIn(environment, { url: 'ws://relay', storage: 'memory', ...options })
  clients.push(client)
  return client
}

const virtualMsMax = 600_000

/** Lets virtual time pass until something is so. */
async function until(what: string, condition: () => boolean): Promise<void> {
  const untilMs = time.nowMs + virtualMsMax
  while (!condition()) {
    await door.settled('')
    if (condition()) return
    if (!time.step() || time.nowMs > untilMs) throw new Error(`not within ${virtualMsMax} ms: ${what}`)
  }
}
const live = (handle: Handle): Promise<void> => until('it is live', () => handle.status === 'live')

test('the states are gone through in their order, and told', async () => {
  const client = newClient()
  const [connection, document]: string[][] = [[], []]
  client.on('status', (status) => connection!.push(status))
  const handle = client.open('notes')
  handle.on('status', (status) => document!.push(status))
  expect(handle.status).toBe('connecting')
  await live(handle)
  expect(connection).toEqual(['connecting', 'authenticating', 'live'])
  expect(document).toEqual(['authenticating', 'syncing', 'live'])
  expect(client.events.map(({ event }) => event)).toEqual(
    expect.arrayContaining(['connecting', 'live', 'loaded']),
  )
  expect(client.inspect()).toMatchObject({
    status: 'live',
    durability: 'fsync',
    documents: [{ id: 'notes', status: 'live', handles: 1, access: 'write', pending: 0 }],
  })
})

test('a server that says nothing any more is left within half a minute of silence', async () => {
  const handle = newClient().open('notes')
  await live(handle)
  const sinceMs = time.nowMs
  network = 'deaf'
  await until('it is noticed', () => handle.status !== 'live')
  expect(time.nowMs - sinceMs).toBeLessThanOrEqual(45_000)
  network = 'good'
  await live(handle)
})

test('a connection on which nothing happens lives on by its pings', async () => {
  const client = newClient()
  const handle = client.open('notes')
  await live(handle)
  const untilMs = time.nowMs + 300_000
  await until('time has passed', () => time.nowMs > untilMs)
  expect(client.inspect().attempts).toBe(0)
  expect(client.events.some(({ event }) => event === 'connection lost')).toBe(false)
})

test('an attempt without a welcome is given up, and tried again later and later', async () => {
  const client = newClient()
  network = 'deaf'
  client.open('notes')
  await until('it was tried a few times', () => client.inspect().attempts === 4)
  expect(client.inspect().retryAtMs).toBeGreaterThan(time.nowMs)
  network = 'good'
  await live(client.open('notes'))
})

test('what is larger than a frame travels in parts, both ways', async () => {
  const [one, two] = [newClient().open('notes'), newClient().open('notes')]
  await Promise.all([live(one), live(two)])
  one.doc.getText('text').insert(0, 'x'.repeat(300_000))
  await until('it is saved', () => one.pending === 0)
  await until('it is there', () => two.doc.getText('text').length === 300_000)
  const late = newClient().open('notes')
  await until('it is there too', () => late.doc.getText('text').length === 300_000)
})

test('an edit that the server cannot take is refused, and what comes after it is kept', async () => {
  const client = newClient()
  const handle = client.open('notes')
  await live(handle)
  handle.doc.getText('text').insert(0, 'small')
  await until('it is saved', () => handle.pending === 0)
  handle.doc.getText('text').insert(0, 'x'.repeat(updateBytesMax + 1))
  const saved = handle.saved()
  await expect(saved).rejects.toMatchObject({ code: 'update_too_large' })
  handle.doc.getText('text').insert(0, 'after')
  expect(handle).toMatchObject({ status: 'refused', pending: 2, error: { code: 'update_too_large' } })
  client.retry()
  await until('it is refused again', () => handle.status === 'refused')
  expect(handle.pending).toBe(2)
})

test('hours of typing offline are a few updates, and as many edits as were made', async () => {
  const client = newClient()
  const handle = client.open('notes')
  await live(handle)
  client.pause()
  for (let i = 0; i < 3_000; i++) handle.doc.getText('text').insert(i, 'x')
  expect(handle.pending).toBe(3_000)
  client.resume()
  await until('it is saved', () => handle.pending === 0)
  const { tail } = await door.log.load('notes' as never)
  expect(tail.length).toBeLessThan(10)
  expect(handle.doc.getText('text').length).toBe(3_000)
})

test('a document that is closed at once and opened again is open, whatever was under way', async () => {
  const client = newClient()
  const other = client.open('other')
  await live(other)
  for (let i = 0; i < 20; i++) {
    const handle = client.open('notes')
    for (let steps = 0; steps < i; steps++) time.step()
    await handle.close()
    const untilMs = time.nowMs + 1_000 + i
    await until('its grace is over', () => time.nowMs >= untilMs)
  }
  const handle = client.open('notes')
  await live(handle)
  handle.doc.getText('text').insert(0, 'x')
  await until('it is saved', () => handle.pending === 0)
})

test('presence goes out at once, then a few times a second, and comes back after a reconnect', async () => {
  const client = newClient()
  const [one, two] = [client.open('notes'), newClient().open('notes')]
  await Promise.all([live(one), live(two)])
  for (let i = 0; i <= 30; i++) one.awareness.setLocalStateField('caret', i)
  const caret = (): unknown => two.awareness.getStates().get(one.awareness.clientID)?.['caret']
  await real(() => caret() === 30)
  client.pause()
  await real(() => caret() === undefined)
  client.resume()
  await live(one)
  await real(() => caret() === 30)
})

/** The server collects presence on its own clock, a real one. */
async function real(condition: () => boolean): Promise<void> {
  const untilMs = Date.now() + 100_000
  while (!condition()) {
    if (Date.now() > untilMs) throw new Error('not within 100 s')
    await new Promise((resolve) => setTimeout(resolve, 5))
    time.step()
    await door.settled('')
  }
}
