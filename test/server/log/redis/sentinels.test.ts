/** Whom to believe when Sentinels disagree. Real ones agree within moments, so these only play their part. */
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { parseSentinelAddress } from '../../../../server/log/redis/address.ts'
import { Sentinels } from '../../../../server/log/redis/sentinels.ts'
import { silentLogger } from '../../../support/silent-logger.ts'
import { until } from './nodes.ts'

interface Played {
  port: number
  master: number
  epoch: number
  asked: number
  state: 'answers' | 'silent' | 'gone'
}

const quick = {
  sentinelMsMax: 10_000,
  sentinelIntervalMs: 20,
  sentinelTrustMs: 60_000,
  backoffMsMin: 5,
  backoffMsMax: 20,
}
const servers: Server[] = []
const sockets = new Set<Socket>()
const opened: Sentinels[] = []

afterEach(async () => {
  await Promise.all(opened.splice(0).map((one) => one.close()))
  for (const socket of sockets) socket.destroy()
  for (const server of servers.splice(0)) server.close()
})

async function play(master: number, epoch: number): Promise<Played> {
  const played: Played = { port: 0, master, epoch, asked: 0, state: 'answers' }
  const server = createServer((socket) => {
    sockets.add(socket)
    // The client may vanish in the middle of a reply.
    socket.on('error', () => {})
    socket.on('data', (data) => {
      for (const [, name] of data
        .toString('latin1')
        .matchAll(/\*\d+\r\n\$\d+\r\n[A-Za-z]+\r\n(?:\$\d+\r\n([\w+-]+))?/g))
        if (played.state === 'gone') socket.destroy()
        else socket.write(replyTo(name ?? ''))
    })
  }).listen(0, '127.0.0.1')
  servers.push(server)
  await once(server, 'listening')
  played.port = (server.address() as { port: number }).port
  const bulk = (text: string) => `$${text.length}\r\n${text}\r\n`
  const replyTo = (name: string): string => {
    if (name === '3') return `%1\r\n${bulk('proto')}:3\r\n`
    if (name === '+switch-master') return `>3\r\n${bulk('subscribe')}${bulk(name)}:1\r\n`
    if (played.state === 'silent') return ''
    if (name === 'GET-MASTER-ADDR-BY-NAME') {
      played.asked++
      return `*2\r\n${bulk('10.0.0.1')}${bulk(String(played.master))}`
    }
    if (name === 'MASTER') return `%1\r\n${bulk('config-epoch')}${bulk(String(played.epoch))}`
    return '+OK\r\n'
  }
  return played
}

function sentinelsOf(played: readonly Played[], limits = quick) {
  const list = played.map(({ port }) => `127.0.0.1:${port}`).join(',')
  const moves: number[] = []
  const sentinels = new Sentinels({
    address: parseSentinelAddress(`redis+sentinel://${list}/m`)!,
    logger: silentLogger,
    limits,
    onMoved: () => moves.push(1),
  })
  opened.push(sentinels)
  return { sentinels, moves }
}

describe('who is asked for the master', () => {
  it('is one Sentinel, and next time the one that answered', async () => {
    const [gone, alive] = [await play(1, 1), await play(2, 1)]
    gone.state = 'gone'
    const { sentinels } = sentinelsOf([gone, alive])
    expect(await sentinels.find()).toBe('redis://10.0.0.1:2')
    gone.state = 'answers'
    expect(await sentinels.find()).toBe('redis://10.0.0.1:2')
    expect([gone.asked, alive.asked]).toEqual([0, 2])
  })

  it('is the next one, when the first does not answer in time', async () => {
    const [silent, alive] = [await play(1, 1), await play(2, 1)]
    silent.state = 'silent'
    const { sentinels } = sentinelsOf([silent, alive], { ...quick, sentinelMsMax: 500 })
    await until(async () => expect(await sentinels.find()).toBe('redis://10.0.0.1:2'))
  })

  it('is the next one, when the first knows of fewer failovers than were heard of', async () => {
    const [stale, other] = [await play(1, 1), await play(1, 1)]
    const { sentinels, moves } = sentinelsOf([stale, other])
    expect(await sentinels.find()).toBe('redis://10.0.0.1:1')
    sentinels.start()
    Object.assign(other, { master: 2, epoch: 2 })
    await until(() => expect(moves.length).toBe(1))
    expect([1, 2].map((port) => sentinels.holds(`redis://10.0.0.1:${port}`))).toEqual([false, true])
    expect(await sentinels.find()).toBe('redis://10.0.0.1:2')
    // Both are asked all the time; the stale one leads nobody back, nor when it is the only one left.
    const { asked } = stale
    await until(() => expect(stale.asked).toBeGreaterThan(asked + 3))
    other.state = 'gone'
    await expect(sentinels.find()).rejects.toThrow('know of fewer failovers')
    expect(moves.length).toBe(1)
  })

  it('is whoever is left, even if it knows less, once nobody has confirmed more for long', async () => {
    const [first, second] = [await play(2, 2), await play(1, 1)]
    const { sentinels } = sentinelsOf([first, second], { ...quick, sentinelTrustMs: 200 })
    expect(await sentinels.find()).toBe('redis://10.0.0.1:2')
    first.state = 'gone'
    await until(async () => expect(await sentinels.find()).toBe('redis://10.0.0.1:1'))
  })

  it('says so when they know no such master', async () => {
    const unknowing = await play(0, 1)
    const { sentinels } = sentinelsOf([unknowing])
    await expect(sentinels.find()).rejects.toThrow('the Sentinels know none of the name m')
  })
})
