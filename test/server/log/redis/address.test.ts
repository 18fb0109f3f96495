import { describe, expect, it } from 'vitest'
import { ConfigError, readConfig } from '../../../../server/config.ts'
import { parseSentinelAddress, sentinelUrl, serverUrl } from '../../../../server/log/redis/address.ts'

describe('a URL of Sentinels', () => {
  it('names them, the master, and both passwords', () => {
    const address = parseSentinelAddress(
      'redis+sentinel://ann:p%40ss@one:1,two,[::1]:3/my-master/0?sentinelPassword=s%2Fecret',
    )!
    expect(address.masterName).toBe('my-master')
    expect(address.sentinels.map((place) => sentinelUrl(address, place))).toEqual([
      'redis://:s%2Fecret@one:1',
      'redis://:s%2Fecret@two:26379',
      'redis://:s%2Fecret@[::1]:3',
    ])
    expect(serverUrl(address, { host: '10.0.0.1', port: 6379 })).toBe('redis://ann:p%40ss@10.0.0.1:6379')
  })

  it('encrypts both ways, or neither', () => {
    const address = parseSentinelAddress('rediss+sentinel://one/m')!
    expect(sentinelUrl(address, address.sentinels[0]!)).toBe('rediss://one:26379')
    expect(serverUrl(address, { host: '::1', port: 1 })).toBe('rediss://[::1]:1')
  })

  it.each([
    'redis+sentinel://one:1,two:2',
    'redis+sentinel://one:1,two:2/',
    'redis+sentinel:///master',
    'redis+sentinel://one:1,,two:2/master',
    'redis+sentinel://one:0/master',
    'redis+sentinel://one:65536/master',
    'redis+sentinel://one:1/master/1',
    'redis+sentinel://one:1/master?password=x',
    'redis+sentinel://one:1/a/b/c',
    `redis+sentinel://${'one:1,'.repeat(16)}one:1/master`,
    'redis+sentinel://user:pass@word@one:1/a master',
  ])('is refused, with its form and without its password: %s', (url) => {
    expect(parseSentinelAddress(url)).toBeNull()
    expect(() => readConfig({ REDIS_URL: url })).toThrow(ConfigError)
    expect(() => readConfig({ REDIS_URL: url })).toThrow(
      'REDIS_URL=… is not valid: REDIS_URL takes redis+sentinel://host:port,host:port,host:port/<name of the master>',
    )
  })
})

it.each(['redis://one', 'rediss://user:word@one:6379/0', 'redis+sentinel://one,two,three/master'])(
  'REDIS_URL may be %s',
  (url) => {
    expect(readConfig({ REDIS_URL: url })).toMatchObject({ REDIS_URL: url, REDIS_REPLICAS: 0 })
  },
)

it.each(['redis+cluster://one:1', 'http://one', 'redis://one/1'])('REDIS_URL may not be %s', (url) => {
  expect(() => readConfig({ REDIS_URL: url })).toThrow('a redis:// or rediss:// URL with database 0')
})
