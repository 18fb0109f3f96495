import { describe, expect, test } from 'vitest'
import { Admission, type AdmissionLimits } from '../../../server/gateway/admission.ts'

const limits: AdmissionLimits = {
  sessionsMax: 3,
  sessionsPerAddressMax: 2,
  sessionsPerUserMax: 2,
  handshakesMax: 2,
  loopLagMsMax: 100,
}

describe('admission', () => {
  test('lets in as many handshakes as the limit, and the next one when one has ended', () => {
    const admission = new Admission(limits)
    expect(admission.enter('a', 0)).toBe(null)
    expect(admission.enter('b', 0)).toBe(null)
    expect(admission.enter('c', 0)).toBe('overloaded')
    admission.handshakeEnded()
    expect(admission.enter('c', 0)).toBe(null)
  })

  test('counts connections until they leave', () => {
    const admission = new Admission({ ...limits, handshakesMax: 100 })
    for (const address of ['a', 'b', 'c']) expect(admission.enter(address, 0)).toBe(null)
    expect(admission.enter('d', 0)).toBe('overloaded')
    admission.leave('a')
    expect(admission.enter('d', 0)).toBe(null)
  })

  test('counts connections by address', () => {
    const admission = new Admission({ ...limits, handshakesMax: 100, sessionsMax: 100 })
    expect(admission.enter('a', 0)).toBe(null)
    expect(admission.enter('a', 0)).toBe(null)
    expect(admission.enter('a', 0)).toBe('rate_limited')
    expect(admission.enter('b', 0)).toBe(null)
    admission.leave('a')
    expect(admission.enter('a', 0)).toBe(null)
  })

  test('counts sessions by user, and none of nobody in particular', () => {
    const admission = new Admission(limits)
    admission.enterUser('ann')
    admission.enterUser('ann')
    expect(() => admission.enterUser('ann')).toThrowError(expect.objectContaining({ code: 'rate_limited' }))
    admission.enterUser('bob')
    admission.leaveUser('ann')
    admission.enterUser('ann')
    for (let i = 0; i < 10; i++) admission.enterUser('')
  })

  test('lets in nobody for two seconds after the loop was late', () => {
    const admission = new Admission(limits)
    admission.lagged(99, 1000)
    expect(admission.enter('a', 1000)).toBe(null)
    admission.lagged(100, 1000)
    expect(admission.enter('b', 2999)).toBe('overloaded')
    expect(admission.enter('b', 3000)).toBe(null)
  })
})
