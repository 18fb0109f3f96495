/** Signatures as the specification has them, what answers mean, and the settings that lead there. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import { ConfigError, readConfig } from '../../../server/config.ts'
import { outcomeOf, retryAfterMsMax, signatureOf } from '../../../server/webhooks/receiver.ts'
import { secretOf, webhooksSettings } from '../../../server/webhooks/settings.ts'

const secretText = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'

describe('a signature', () => {
  it('is the one that the libraries of Standard Webhooks test with', () => {
    const secret = secretOf(secretText)!
    const signature = signatureOf(
      secret,
      'msg_p5jXN8AQM9LWM0D4loKWxJek',
      1_614_265_330,
      '{"test": 2432232314}',
    )
    expect(signature).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=')
  })

  it('is taken by the code in docs/webhooks.md, unless anything about it is wrong', async () => {
    const guide = readFileSync(join(import.meta.dirname, '../../../docs/webhooks.md'), 'utf8')
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-verify-'))
    const file = join(folder, 'verify.mjs')
    writeFileSync(file, /```js\n(.*?)```/s.exec(guide)?.[1] ?? '')
    const { isGenuine } = await import(pathToFileURL(file).href)
    rmSync(folder, { recursive: true })
    const seconds = Math.floor(Date.now() / 1000)
    for (const text of [secretText, 'a plain text of more than 24 bytes']) {
      const body = '{"data":{"document":"ärger"}}'
      const signature = signatureOf(secretOf(text)!, 'msg_1', seconds, body)
      const headers = {
        'webhook-id': 'msg_1',
        'webhook-timestamp': String(seconds),
        'webhook-signature': `v1a,x ${signature}`,
      }
      const genuine = (changes: object, sent = body, secret = text): boolean =>
        isGenuine({ ...headers, ...changes }, Buffer.from(sent), secret)
      expect(genuine({})).toBe(true)
      expect(genuine({ 'webhook-id': 'msg_2' })).toBe(false)
      expect(genuine({ 'webhook-timestamp': String(seconds - 1) })).toBe(false)
      expect(genuine({ 'webhook-signature': signature.replace('v1', 'v2') })).toBe(false)
      expect(genuine({ 'webhook-signature': undefined })).toBe(false)
      expect(genuine({}, `${body} `)).toBe(false)
      expect(genuine({}, body, `${text}QUJD`)).toBe(false)
      const old = seconds - 301
      const stale = signatureOf(secretOf(text)!, 'msg_1', old, body)
      expect(genuine({ 'webhook-timestamp': String(old), 'webhook-signature': stale })).toBe(false)
    }
  })
})

describe('an answer', () => {
  const nowMs = Date.parse('Thu, 01 Jan 2026 00:00:00 GMT')

  it.each([
    [200, 'delivered'],
    [299, 'delivered'],
    [301, 'refused'],
    [307, 'refused'],
    [400, 'refused'],
    [404, 'refused'],
    [410, 'gone'],
    [429, 'failed'],
    [500, 'failed'],
    [503, 'failed'],
  ])('%i means %s', (status, is) => {
    expect(outcomeOf(status, null, nowMs)).toMatchObject({ is })
  })

  it.each([
    ['120', 120_000],
    ['Thu, 01 Jan 2026 00:00:30 GMT', 30_000],
    ['Wed, 31 Dec 2025 00:00:00 GMT', 0],
    ['soon', 0],
    ['999999999999', retryAfterMsMax],
  ])('with Retry-After %s has the next attempt wait for %i ms', (value, retryAfterMs) => {
    for (const status of [503, 429, 404])
      expect(outcomeOf(status, value, nowMs)).toMatchObject({ retryAfterMs })
  })
})

describe('the settings', () => {
  const url = 'https://example.com/hooks?key=hidden-key'

  it('turn webhooks off when there is no URL, and need a secret when there is one', () => {
    expect(webhooksSettings(readConfig({}))).toBeNull()
    expect(() => readConfig({ WEBHOOK_URL: url })).toThrow(/WEBHOOK_URL without WEBHOOK_SECRET/)
    expect(() => readConfig({ WEBHOOK_SECRET: secretText })).toThrow(/WEBHOOK_SECRET without WEBHOOK_URL/)
    const settings = webhooksSettings(readConfig({ WEBHOOK_URL: url, WEBHOOK_SECRET: secretText }))
    expect(settings).toMatchObject({ url, debounceMs: 2_000, timeoutMs: 10_000, concurrency: 8, replay: 0 })
  })

  it('take a secret of 24 bytes and none of 23, as base64 or as text, and show neither it nor the URL', () => {
    const base64 = (bytes: number) => `whsec_${Buffer.alloc(bytes, 251).toString('base64')}`
    expect(secretOf(base64(24))).toHaveLength(24)
    expect(secretOf(base64(25).replace(/=+$/, ''))).toHaveLength(25)
    expect(secretOf('ä'.repeat(12))).toHaveLength(24)
    for (const wrong of [base64(23), 'x'.repeat(23), `${base64(24)}!`, base64(24).replaceAll('+', '-')])
      expect(secretOf(wrong), wrong).toBeNull()
    const refused = (environment: NodeJS.ProcessEnv): string => {
      try {
        readConfig(environment)
      } catch (error) {
        if (error instanceof ConfigError) return error.message
      }
      throw new Error('was not refused')
    }
    const both = refused({ WEBHOOK_URL: `ftp${url}`, WEBHOOK_SECRET: 'too-short' })
    expect(both).toMatch(/WEBHOOK_URL/)
    expect(both).toMatch(/WEBHOOK_SECRET/)
    expect(both + refused({ WEBHOOK_URL: url })).not.toMatch(/hidden-key|too-short/)
  })
})
