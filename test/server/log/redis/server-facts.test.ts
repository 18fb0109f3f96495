import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { type RedisServer, startRedisServer } from '../../../support/redis-server.ts'
import { nodesOn, until } from './nodes.ts'

let redis: RedisServer | null = null
const nodes = nodesOn(() => redis!.url)

afterEach(async () => {
  await nodes.closeAll()
  await redis?.stop()
  redis = null
})

describe('durability', () => {
  it.each([
    [{ appendonly: 'yes', appendfsync: 'always' }, 'aof-always', false],
    [{ appendonly: 'yes', appendfsync: 'everysec' }, 'aof-everysec', false],
    [{ appendonly: 'yes', appendfsync: 'no' }, 'memory', true],
    [{ appendonly: 'no' }, 'memory', true],
  ] as const)('is what %j gives', async (options, durability, warns) => {
    redis = await startRedisServer(options)
    const log = await nodes.open()
    expect(log.durability).toBe(durability)
    const warned = log.logger.lines.some(
      ({ level, message }) => level === 'warn' && message.includes('APPEND-ONLY'),
    )
    expect(warned).toBe(warns)
  })

  it('is read again on every reconnect', async () => {
    redis = await startRedisServer({ appendfsync: 'everysec' })
    const log = await nodes.open()
    await redis.command('CONFIG', 'SET', 'appendonly', 'no')
    await redis.command('CLIENT', 'KILL', 'TYPE', 'normal')
    await until(() => expect(log.durability).toBe('memory'))
  })

  it('is taken from INFO where the user may not read the configuration', async () => {
    redis = await startRedisServer()
    await redis.command('ACL', 'SETUSER', 'limited', 'on', '>word', '~*', '&*', '+@all', '-config')
    const { port } = redis
    const limited = nodesOn(() => `redis://limited:word@127.0.0.1:${port}`)
    expect((await limited.open()).durability).toBe('aof-everysec')
    await limited.closeAll()
  })
})

it('warns when Redis may evict documents', async () => {
  redis = await startRedisServer({ 'maxmemory-policy': 'allkeys-lru' })
  const log = await nodes.open()
  expect(log.logger.lines.some(({ message }) => message.includes('noeviction'))).toBe(true)
})

it('says so when the password is wrong', async () => {
  redis = await startRedisServer({ requirepass: 'right' })
  const { port } = redis
  const wrong = nodesOn(() => `redis://:wrong@127.0.0.1:${port}`)
  await expect(wrong.open({ startMsMax: 1_500 })).rejects.toThrow('Redis refused the user or password')
  const none = nodesOn(() => `redis://127.0.0.1:${port}`)
  await expect(none.open({ startMsMax: 1_500 })).rejects.toThrow('Redis wants a password')
  await Promise.all([wrong.closeAll(), none.closeAll()])
})

it('refuses a server older than 7.0 at once, naming both versions', async () => {
  const old = createServer((socket) => answerAsVersion(socket, '6.2.14')).listen(0, '127.0.0.1')
  await once(old, 'listening')
  const { port } = old.address() as { port: number }
  const aged = nodesOn(() => `redis://127.0.0.1:${port}`)
  await expect(aged.open({ startMsMax: 20_000 })).rejects.toThrow(
    'Redis 6.2.14 is too old: the log needs 7.0 or newer',
  )
  await aged.closeAll()
  old.close()
})

it('refuses a cluster at once, under either kind of URL', async () => {
  redis = await startRedisServer({ 'cluster-enabled': 'yes' })
  await expect(nodes.open({ startMsMax: 20_000 })).rejects.toThrow('does not support Redis Cluster')
  const { port } = redis
  const cluster = nodesOn(() => `redis+cluster://127.0.0.1:${port}`)
  await expect(cluster.open()).rejects.toThrow('does not support Redis Cluster')
  await cluster.closeAll()
})

/** Enough of a server to be asked for its version: `OK` to everything else. */
function answerAsVersion(socket: Socket, version: string): void {
  const info = `# Server\r\nredis_version:${version}\r\nrole:master\r\n`
  // The client may vanish in the middle of a reply.
  socket.on('error', () => {})
  socket.on('data', (data) => {
    for (const command of data.toString('latin1').match(/\*\d+\r\n\$\d+\r\n[A-Za-z]+/g) ?? []) {
      const name = command.split('\r\n').at(-1)!.toUpperCase()
      if (name === 'HELLO') socket.write('%1\r\n$5\r\nproto\r\n:3\r\n')
      else if (name === 'INFO') socket.write(`$${info.length}\r\n${info}\r\n`)
      else socket.write('+OK\r\n')
    }
  })
}
