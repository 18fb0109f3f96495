import { expect, test } from 'vitest'
import { closingLine, triedAgain } from '../../scripts/count-results.mjs'

const file = (status: string, ...tests: string[]) => ({
  status,
  assertionResults: tests.map((each) => ({ status: each })),
})
const results = (...testResults: unknown[]) => ({ testResults })

test.each([
  [
    'tests are counted',
    results(file('passed', 'passed', 'passed'), file('failed', 'passed', 'failed')),
    1,
    '3 passed, 1 failed',
  ],
  [
    'skipped tests are named',
    results(file('passed', 'passed', 'skipped', 'todo')),
    0,
    '1 passed, 0 failed, 2 skipped',
  ],
  [
    'a file that did not load is a failure',
    results(file('passed', 'passed'), file('failed')),
    1,
    '1 passed, 1 failed',
  ],
  [
    'a file whose hook threw is a failure',
    results(file('failed', 'passed', 'passed')),
    1,
    '2 passed, 1 failed',
  ],
  [
    'an exit code that no test explains is a failure',
    results(file('passed', 'passed')),
    1,
    '1 passed, 1 failed',
  ],
  ['a stage that failed before any test is a failure', undefined, 1, '0 passed, 1 failed'],
] as const)('%s', (_, given, exitCode, line) => {
  expect(closingLine(given, exitCode)).toBe(line)
})

test('what failed once is told', () => {
  const test = (fullName: string, status: string, ...failureMessages: string[]) => ({
    fullName,
    status,
    failureMessages,
  })
  const tests = [
    test('a', 'passed'),
    test('b', 'passed', 'Error: late\n  at b'),
    test('c', 'failed', 'Error: c'),
  ]
  expect(triedAgain(results({ status: 'failed', assertionResults: tests }))).toEqual([
    'failed once: b: Error: late',
  ])
  expect(triedAgain(undefined)).toEqual([])
})
