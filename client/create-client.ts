/** Options to a client: what is missing is completed, what cannot work is refused at once. */
import { TidemarkError } from '../core/protocol/error-codes.ts'
import { TidemarkClient } from './client.ts'
import { browserOrNode, type Environment } from './environment.ts'
import { scopeOf, subjectOf } from './scope.ts'
import { createIndexedDbStorage } from './storage/indexeddb.ts'
import { createMemoryStorage } from './storage/memory.ts'
import type { Storage } from './storage/storage.ts'
import type { Client, ClientOptions } from './types.ts'

/** Connects at the first `open`. Throws `invalid_request` for options that cannot work. */
export function createClient(options: ClientOptions): Client {
  return createClientIn(browserOrNode(options.webSocket), options)
}

export function createClientIn(environment: Environment, options: ClientOptions): Client {
  const url = webSocketUrl(options.url)
  const storage = storageOf(environment, options.storage)
  const { token } = options
  if (typeof token === 'function' && options.user === undefined && options.storage !== 'memory')
    throw new TidemarkError('invalid_request', 'A token function needs `user`')
  const user = options.user ?? (typeof token === 'string' ? subjectOf(token) : '')
  return new TidemarkClient({ environment, url, token, storage, scope: scopeOf(url, user) })
}

export function webSocketUrl(text: string): string {
  let url: URL | null = null
  try {
    url = new URL(text, globalThis.location?.href)
  } catch {
    // Told below.
  }
  if (url === null || !/^(ws|http)s?:$/.test(url.protocol))
    throw new TidemarkError('invalid_request', `Not a URL: ${text}`)
  const path = url.pathname === '/' ? '/v1/sync' : url.pathname.replace(/\/+$/, '')
  return `${url.protocol.replace('http', 'ws')}//${url.host}${path}`
}

function storageOf(environment: Environment, asked: ClientOptions['storage']): Storage {
  if (typeof asked === 'object') return asked
  const { indexedDB } = environment
  if (asked === 'indexeddb' && indexedDB === null)
    throw new TidemarkError('invalid_request', 'No IndexedDB here')
  return asked === 'memory' || indexedDB === null ? createMemoryStorage() : createIndexedDbStorage(indexedDB)
}
