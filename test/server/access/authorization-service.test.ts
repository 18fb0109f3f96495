/** A service of the app's own says who may do what: asked as documented, seldom, and never believed blindly. */
import type { ServerResponse } from 'node:http'
import { afterEach, expect, test } from 'vitest'
import { parseDocumentId } from '../../../core/document-id.ts'
import { AuthorizationService } from '../../../server/access/authorization-service.ts'
import { Slots } from '../../../server/access/slots.ts'
import { collectingLogger } from '../../support/collecting-logger.ts'
import { until } from '../../support/wait.ts'
import { gatekeeperWith, type LocalServer, nowMs, outcome, serve } from './tokens.ts'

const deal = parseDocumentId('deals/1')
const other = parseDocumentId('deals/2')
const ann = { subject: 'ann', roles: ['dealer'], documents: [{ match: 'deals/*', access: 'write' }] }

interface Service extends LocalServer {
  readonly asked: { readonly token: unknown; readonly document: unknown }[]
  reply(response: ServerResponse): void
}

const services: LocalServer[] = []
afterEach(async () => {
  for (const service of services.splice(0)) await service.close()
})

const answering =
  (status: number, body: unknown) =>
  (response: ServerResponse): void => {
    response.writeHead(status).end(typeof body === 'string' ? body : JSON.stringify(body))
  }

async function service(reply: Service['reply'] = answering(200, ann)): Promise<Service> {
  const server = await serve((request, response, body) => {
    expect(request.method).toBe('POST')
    expect(request.headers['content-type']).toBe('application/json')
    started.asked.push(JSON.parse(body) as Service['asked'][number])
    started.reply(response)
  })
  const started: Service = { ...server, asked: [], reply }
  services.push(server)
  return started
}

const open = (at: LocalServer, more: Record<string, string> = {}) =>
  gatekeeperWith({ AUTHORIZE_URL: at.url, ...more })

test('is asked with token and document, and its answer is the identity, for as long as the cache keeps it', async () => {
  const asked = await service(answering(200, { ...ann, team: 7 }))
  const { gatekeeper } = await open(asked)
  const identity = await gatekeeper.identify('opaque', deal)
  expect(asked.asked).toEqual([{ token: 'opaque', document: 'deals/1' }])
  expect(identity).toMatchObject({
    subject: 'ann',
    roles: ['dealer'],
    claims: { sub: 'ann', team: 7, documents: ann.documents },
    issuedMs: null,
    expiresMs: nowMs + 30_000,
    renewable: true,
  })
  expect(identity.accessTo(deal)).toBe('write')
  expect(identity.accessTo(parseDocumentId('notes'))).toBe('none')
  await gatekeeper.identify('opaque', null)
  expect(asked.asked[1]).toEqual({ token: 'opaque', document: null })
})

test('without token it is not asked', async () => {
  const asked = await service()
  const { gatekeeper } = await open(asked)
  expect(await outcome(gatekeeper.identify(null, deal))).toBe('unauthenticated')
  expect(await outcome(gatekeeper.identify('x'.repeat(8_193), deal))).toBe('unauthenticated')
  expect(asked.asked).toEqual([])
})

test('it is asked again when the answer ends, for each token and document, and may shorten that', async () => {
  const asked = await service()
  const { gatekeeper, clock } = await open(asked, { AUTHORIZE_CACHE_SECONDS: '10' })
  for (let i = 0; i < 3; i++) await gatekeeper.identify('one', deal)
  expect(asked.asked).toHaveLength(1)
  await gatekeeper.identify('two', deal)
  await gatekeeper.identify('one', other)
  await gatekeeper.identify('one', null)
  expect(asked.asked).toHaveLength(4)
  clock.nowMs += 9_999
  await gatekeeper.identify('one', deal)
  expect(asked.asked).toHaveLength(4)
  clock.nowMs += 1
  asked.reply = answering(200, { ...ann, expiresSeconds: 2, issuedAt: 5 })
  expect(await gatekeeper.identify('one', deal)).toMatchObject({
    expiresMs: clock.nowMs + 2_000,
    issuedMs: 5_000,
  })
  expect(asked.asked).toHaveLength(5)
  clock.nowMs += 2_000
  await gatekeeper.identify('one', deal)
  expect(asked.asked).toHaveLength(6)
})

test('many that ask the same at once are one question', async () => {
  const held: ServerResponse[] = []
  const asked = await service((response) => held.push(response))
  const { gatekeeper } = await open(asked)
  const identified = Array.from({ length: 50 }, () => gatekeeper.identify('one', deal))
  await until('asked', () => held.length > 0)
  held.forEach(answering(200, ann))
  expect(new Set((await Promise.all(identified)).map(({ subject }) => subject))).toEqual(new Set(['ann']))
  expect(asked.asked).toHaveLength(1)
})

test.each([
  [401, 'unauthenticated'],
  [403, 'forbidden'],
])('%i refuses as %s, and is remembered for 5 seconds', async (status, code) => {
  const asked = await service(answering(status, ''))
  const { gatekeeper, clock } = await open(asked)
  for (let i = 0; i < 3; i++) expect(await outcome(gatekeeper.identify('one', deal))).toBe(code)
  expect(asked.asked).toHaveLength(1)
  asked.reply = answering(200, ann)
  clock.nowMs += 5_000
  expect(await outcome(gatekeeper.identify('one', deal))).toBe('let in')
})

test.each<[string, number, unknown]>([
  ['500', 500, ann],
  ['a redirect', 307, ann],
  ['204', 204, ''],
  ['no JSON', 200, '<html>'],
  ['no object', 200, '"ann"'],
  ['no subject', 200, { roles: [] }],
  ['an empty subject', 200, { ...ann, subject: '' }],
  ['an unknown access', 200, { ...ann, documents: [{ match: '*', access: 'all' }] }],
  ['too many patterns', 200, { ...ann, documents: Array(1_001).fill(ann.documents[0]) }],
  ['an answer without end', 200, `{"subject":"${'x'.repeat(300_000)}"}`],
])('%s: nobody gets in, it is worth a retry, and it is not remembered', async (_name, status, body) => {
  const asked = await service((response) => {
    response.setHeader('location', asked.url)
    answering(status, body)(response)
  })
  const { gatekeeper, logger } = await open(asked)
  expect(await outcome(gatekeeper.identify('geheim', deal))).toBe('authorization_unavailable')
  expect(asked.asked).toHaveLength(1)
  expect(logger.lines.filter(({ level }) => level === 'warn')).toHaveLength(1)
  expect(JSON.stringify(logger.lines)).not.toContain('geheim')
  asked.reply = answering(200, ann)
  expect(await outcome(gatekeeper.identify('geheim', deal))).toBe('let in')
})

test('silence, a slow body and nobody there: nobody gets in', async () => {
  const asked = await service(() => undefined)
  const { gatekeeper } = await open(asked, { AUTHORIZE_TIMEOUT_MS: '100' })
  expect(await outcome(gatekeeper.identify('one', deal))).toBe('authorization_unavailable')
  asked.reply = (response) => response.writeHead(200).write('{"subject":')
  expect(await outcome(gatekeeper.identify('one', deal))).toBe('authorization_unavailable')
  await asked.close()
  expect(await outcome(gatekeeper.identify('one', deal))).toBe('authorization_unavailable')
})

test('a connection that ends before the answer is tried once more', async () => {
  const asked = await service((response) => {
    if (asked.asked.length === 1) response.socket?.destroy()
    else answering(200, ann)(response)
  })
  const { gatekeeper } = await open(asked)
  expect(await outcome(gatekeeper.identify('one', deal))).toBe('let in')
  asked.reply = (response) => response.socket?.destroy()
  expect(await outcome(gatekeeper.identify('two', deal))).toBe('authorization_unavailable')
  expect(asked.asked).toHaveLength(4)
})

test('only so many questions at a time, only so many waiting, and each waits no longer than the timeout', async () => {
  const held: ServerResponse[] = []
  const asked = await service((response) => held.push(response))
  const logger = collectingLogger()
  const limits = { askedMax: 2, waitingMax: 3 }
  const options = { url: asked.url, cacheMs: 1_000, timeoutMs: 20_000, logger, nowMs: () => nowMs, limits }
  const questions = new AuthorizationService(options)
  const outcomes = Array.from({ length: 6 }, (_, i) => outcome(questions.identify(`${i}`, `${i}`, deal)))
  expect(await Promise.race(outcomes)).toBe('authorization_unavailable')
  await until('two are asked', () => held.length === 2)
  for (let answered = 0; answered < 5; answered++) {
    await until('the next is asked', () => held.length > answered)
    expect(held.length).toBeLessThanOrEqual(answered + 2)
    answering(200, ann)(held[answered]!)
  }
  expect((await Promise.all(outcomes)).filter((one) => one === 'let in')).toHaveLength(5)

  const impatient = new AuthorizationService({ ...options, timeoutMs: 100 })
  const late = Array.from({ length: 4 }, (_, i) => outcome(impatient.identify(`${i}`, `${i}`, deal)))
  expect(new Set(await Promise.all(late))).toEqual(new Set(['authorization_unavailable']))
})

test('a place is not given to who has left the queue', async () => {
  const slots = new Slots(1, 1)
  const never = new AbortController().signal
  const release = await slots.take(never)
  const impatient = new AbortController()
  const waiting = slots.take(impatient.signal)
  impatient.abort(new Error('enough'))
  await expect(waiting).rejects.toThrowError('enough')
  const next = slots.take(never)
  release()
  const releaseNext = await next
  releaseNext()
  await slots.take(never)
  await expect(slots.take(AbortSignal.abort(new Error('late')))).rejects.toThrowError('late')
})

test('closing ends the questions under way', async () => {
  const asked = await service(() => undefined)
  const { gatekeeper } = await open(asked, { AUTHORIZE_TIMEOUT_MS: '60000' })
  const identified = outcome(gatekeeper.identify('one', deal))
  await until('asked', () => asked.asked.length === 1)
  await gatekeeper.close()
  expect(await identified).toBe('authorization_unavailable')
})

test('a revoked subject stays out, unless the service says that the token was issued later', async () => {
  const asked = await service()
  const { gatekeeper, revoked } = await open(asked)
  expect(await outcome(gatekeeper.identify('one', deal))).toBe('let in')
  revoked.add({ kind: 'subject', subject: 'ann', atMs: nowMs }, nowMs)
  expect(await outcome(gatekeeper.identify('one', deal))).toBe('revoked')
  asked.reply = answering(200, { ...ann, issuedAt: nowMs / 1000 + 1 })
  expect(await outcome(gatekeeper.identify('a new one', deal))).toBe('let in')
})
