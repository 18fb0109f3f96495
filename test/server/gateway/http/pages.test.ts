/** The examples' pages, over real HTTP: what they promise a browser, and what they must not answer for. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { pageRoutes } from '../../../../server/gateway/http/pages.ts'

let folder: string
let http: FastifyInstance
let url: string

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-pages-'))
  http = Fastify()
  http.get('/healthz', () => 'ok')
  pageRoutes(folder)(http)
  await http.listen({ host: '127.0.0.1', port: 0 })
  url = `http://127.0.0.1:${(http.server.address() as AddressInfo).port}`
})
afterEach(async () => {
  await http.close()
  rmSync(folder, { recursive: true })
})

function build(): void {
  mkdirSync(join(folder, 'editor/assets/deeper'), { recursive: true })
  writeFileSync(join(folder, 'secret.txt'), 'secret')
  writeFileSync(join(folder, 'editor/index.html'), '<title>editor</title>')
  writeFileSync(join(folder, 'editor/embed.html'), '<title>embed</title>')
  writeFileSync(join(folder, 'editor/assets/main-1.js'), 'export {}')
  writeFileSync(join(folder, 'editor/assets/.hidden'), 'hidden')
  writeFileSync(join(folder, 'editor/.sources'), 'hash')
}

/** `fetch` would tidy the path first, and forbid an answer from a cache. */
async function statusOf(
  path: string,
  method = 'GET',
  headers: Record<string, string> = {},
): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const sent = request(`${url}/`, { path, method, headers }, (answer) => {
      answer.resume()
      resolve(answer.statusCode)
    })
    sent.on('error', reject)
    sent.end()
  })
}

test('there are none before they are built, and then they are, without a restart', async () => {
  expect(await statusOf('/')).toBe(404)
  expect(await statusOf('/healthz')).toBe(200)
  build()
  const page = await fetch(url)
  expect(page.status).toBe(200)
  expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8')
  expect(await page.text()).toBe('<title>editor</title>')
  expect(await (await fetch(`${url}/embed?document=notes%2Fa`)).text()).toBe('<title>embed</title>')
  rmSync(join(folder, 'editor/.sources'))
  expect(await statusOf('/')).toBe(404)
})

test('the market has its own page and assets, and is there or not by itself', async () => {
  build()
  expect(await statusOf('/market')).toBe(404)
  mkdirSync(join(folder, 'market/assets'), { recursive: true })
  writeFileSync(join(folder, 'market/index.html'), '<title>market</title>')
  writeFileSync(join(folder, 'market/assets/main-2.js'), 'export {}')
  writeFileSync(join(folder, 'market/.sources'), 'hash')
  expect(await (await fetch(`${url}/market?inbox`)).text()).toBe('<title>market</title>')
  expect(await statusOf('/market/assets/main-2.js')).toBe(200)
  expect(await statusOf('/market/assets/main-1.js')).toBe(404)
  expect(await statusOf('/assets/main-2.js')).toBe(404)
  expect(await (await fetch(url)).text()).toBe('<title>editor</title>')
})

test('the query is the page’s: it changes nothing here', async () => {
  build()
  expect(await statusOf('/?document=notes%2Fwelcome&token=a.b.c&embed')).toBe(200)
})

describe('headers', () => {
  beforeEach(build)

  test.each(['/', '/embed', '/assets/main-1.js'])(
    'of %s forbid foreign scripts, guessing of types and referrers',
    async (path) => {
      const { headers } = await fetch(url + path)
      const policy = headers.get('content-security-policy') ?? ''
      expect(policy).toContain("default-src 'none'")
      expect(policy).toContain("script-src 'self'")
      expect(policy).toContain("frame-ancestors 'self'")
      expect(policy).not.toMatch(/unsafe|\*|https?:/)
      expect(headers.get('x-content-type-options')).toBe('nosniff')
      expect(headers.get('referrer-policy')).toBe('no-referrer')
    },
  )

  test('let assets be kept for ever and pages be asked for again', async () => {
    const asset = await fetch(`${url}/assets/main-1.js`)
    expect(asset.headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
    expect(asset.headers.get('content-type')).toBe('application/javascript; charset=utf-8')
    const page = await fetch(url)
    expect(page.headers.get('cache-control')).toBe('no-cache')
    expect(await statusOf('/', 'GET', { 'if-none-match': page.headers.get('etag') ?? '' })).toBe(304)
  })
})

describe('nothing else is answered', () => {
  beforeEach(build)

  test.each([
    '/index.html',
    '/.sources',
    '/assets',
    '/assets/',
    '/assets/.hidden',
    '/assets/deeper',
    '/assets/none.js',
    '/assets/../../secret.txt',
    '/assets/..%2f..%2fsecret.txt',
    '/assets/..%5c..%5csecret.txt',
    '/assets/%2e%2e%2f%2e%2e%2fsecret.txt',
    '/assets/main-1.js%00.txt',
    '/notes/welcome',
    '/v1/documents',
  ])('%s', async (path) => {
    expect([400, 403, 404]).toContain(await statusOf(path))
  })

  test.each(['POST', 'PUT', 'DELETE'])('%s', async (method) => {
    expect(await statusOf('/', method)).toBe(404)
  })
})
