/**
 * Prints `N passed, N failed` (and `, N skipped`, if any) from Vitest's JSON results:
 *
 *   node scripts/count-results.mjs <results file> <exit code of npm test>
 *
 * The line must never read as success when something failed. So a test file that failed as a whole
 * (it did not load, a hook threw) counts as one failure, and so does an exit code that no counted
 * failure explains: lint or types failed and no test ran, or an error escaped from every test.
 *
 * Before it, a line for each test that failed and passed when it was tried again: each is a fault of the test, or of the product,
 * that has to be found.
 */
import * as fs from 'node:fs'
import { fileURLToPath } from 'node:url'

export function closingLine(results, exitCode) {
  let [passed, failed, skipped] = [0, 0, 0]
  for (const file of results?.testResults ?? []) {
    const count = (...statuses) =>
      file.assertionResults.filter(({ status }) => statuses.includes(status)).length
    const failedHere = count('failed')
    passed += count('passed')
    failed += file.status === 'failed' && failedHere === 0 ? 1 : failedHere
    skipped += count('pending', 'skipped', 'todo', 'disabled')
  }
  if (exitCode !== 0 && failed === 0) failed = 1
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
}

/** Each with what was wrong the first time. */
export function triedAgain(results) {
  return (results?.testResults ?? []).flatMap((file) =>
    file.assertionResults
      .filter(({ status, failureMessages = [] }) => status === 'passed' && failureMessages.length > 0)
      .map(
        ({ fullName, failureMessages }) => `failed once: ${fullName}: ${failureMessages[0].split('\n')[0]}`,
      ),
  )
}

function read(file) {
  const text = fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : ''
  return text === '' ? undefined : JSON.parse(text)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const results = read(process.argv[2])
  for (const line of triedAgain(results)) console.log(line)
  console.log(closingLine(results, Number(process.argv[3])))
}
