import { expect, test } from 'vitest'
import { ExpiringCache } from '../../../server/access/expiring-cache.ts'

test('what is kept ends in time, and the least recently used goes when it gets too much', () => {
  const cache = new ExpiringCache<number>(30)
  cache.set('a', 1, 100, 10)
  cache.set('b', 2, 200, 10)
  cache.set('c', 3, 200, 10)
  expect(cache.get('a', 99)).toBe(1)
  cache.set('d', 4, 200, 10)
  expect(['a', 'b', 'c', 'd'].map((key) => cache.get(key, 99))).toEqual([1, undefined, 3, 4])
  expect(cache.get('a', 100)).toBeUndefined()
  expect(cache.size).toBe(2)
  cache.set('c', 5, 200, 20)
  expect(['c', 'd'].map((key) => cache.get(key, 99))).toEqual([5, 4])
  cache.set('e', 6, 200, 30)
  expect(cache.size).toBe(1)
  cache.set('e', 7, 200, 31)
  expect(cache.size).toBe(0)
})
