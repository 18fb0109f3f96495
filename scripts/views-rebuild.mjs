/**
 * `npm run views:rebuild [adapter …]`: tells a running relay to build tables anew, and shows how far it is until they are
 * served. The relay does the work, and goes on with it when this is ended.
 *
 *   URL, --url       of the relay, http://127.0.0.1:8080
 *   TOKEN, --token   with admin access to every document; an open relay asks for none
 *
 * Ends with 0 when rows were what they should be, with 1 when some were not (they are now), with 2 when nothing was done.
 */
import { parseArgs } from 'node:util'

const lookMs = 500
const barCharacters = 24

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { url: { type: 'string' }, token: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
})
if (values.help) {
  console.log(
    'npm run views:rebuild [-- [--url URL] [--token TOKEN] adapter …]\n\nURL and TOKEN may be variables, too.',
  )
  process.exit(0)
}
const url = (values.url ?? process.env['URL'] ?? 'http://127.0.0.1:8080').replace(/\/$/, '')
const token = values.token ?? process.env['TOKEN']

const before = await ask('GET', '')
const endedBefore = new Map(before.adapters.map(({ name, lastRebuild }) => [name, lastRebuild?.ended]))
const paths =
  positionals.length > 0 ? positionals.map((name) => `/${encodeURIComponent(name)}/rebuild`) : ['/rebuild']
let begun = before
for (const path of paths) begun = await ask('POST', path)
const names = positionals.length > 0 ? positionals : begun.adapters.map(({ name }) => name)
const left = new Set(
  begun.adapters
    .filter(({ name, state }) => names.includes(name) && state === 'building')
    .map(({ name }) => name),
)
if (left.size === 0) give('nothing is built: this relay has older adapters than there are in the database')
let differing = 0
while (left.size > 0) {
  // The relay may be restarted meanwhile: it goes on.
  const status = await ask('GET', '', true)
  for (const adapter of status?.adapters ?? []) {
    const { name, lastRebuild } = adapter
    if (!left.has(name) || lastRebuild === null || lastRebuild.ended === endedBefore.get(name)) continue
    left.delete(name)
    differing += lastRebuild.differing
    say(resultOf(adapter))
  }
  const building = (status?.adapters ?? []).filter(({ name, rebuild }) => left.has(name) && rebuild !== null)
  show(status === null ? ['waiting for the relay'] : building.map(lineOf))
  await new Promise((done) => setTimeout(done, lookMs))
}
show([])
process.exit(differing > 0 ? 1 : 0)

async function ask(method, path, mayBeAway = false) {
  let response
  try {
    response = await fetch(`${url}/v1/views${path}`, {
      method,
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    })
  } catch (error) {
    if (mayBeAway) return null
    give(
      `No relay answers at ${url} (${error.cause?.code ?? error.message}). Start one (npm start), or say where it is: URL=… npm run views:rebuild`,
    )
  }
  const body = await response.json().catch(() => ({}))
  if (response.ok) return body
  if (response.status === 503 && mayBeAway) return null
  if (response.status === 401 || response.status === 403)
    give(
      `${body.detail ?? response.statusText}. Give a token with admin access to every document: TOKEN=… npm run views:rebuild`,
    )
  give(body.detail ?? `${response.status} ${response.statusText}`)
}

function give(message) {
  show([])
  console.error(`views:rebuild: ${message}`)
  process.exit(2)
}

function lineOf({ name, rebuild }) {
  const { version, state, ratio, documents, documentsDone, rowsPerSecond, secondsLeft } = rebuild
  const full = Math.round(ratio * barCharacters)
  const parts = [`${name} ${version}`, '█'.repeat(full) + '░'.repeat(barCharacters - full)]
  if (state === 'counting') parts.push('counting documents')
  else if (state === 'verifying') parts.push('comparing rows')
  else {
    parts.push(
      `${Math.floor(ratio * 100)} %`.padStart(5),
      `${numberOf(documentsDone)} of ${numberOf(documents)} documents`,
    )
    if (rowsPerSecond > 0) parts.push(`${numberOf(rowsPerSecond)} rows/s`)
    if (secondsLeft !== null) parts.push(`${durationOf(secondsLeft)} left`)
  }
  return parts.join('   ')
}

function resultOf({ name, lastRebuild }) {
  const { version, documents, differing, sample, began, ended } = lastRebuild
  const seconds = Math.round((Date.parse(ended) - Date.parse(began)) / 1_000)
  const head = `${name} ${version}   ${numberOf(documents)} documents in ${durationOf(seconds)}`
  if (differing === 0) return `${head}, all rows were right`
  return `${head}; the rows of ${numberOf(differing)} were not what the log says, and are now: ${sample.join(', ')}`
}

function numberOf(number) {
  return number.toLocaleString('en-US')
}

function durationOf(seconds) {
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`
}

/** Lines at the bottom of a terminal, in place of those before; elsewhere each that is new. */
function show(lines) {
  if (process.stdout.isTTY) {
    clear()
    if (lines.length > 0) process.stdout.write(`${lines.join('\n')}\n`)
    show.count = lines.length
  } else if (lines.length > 0 && lines.join('\n') !== show.last) {
    show.last = lines.join('\n')
    console.log(show.last)
  }
}

function say(line) {
  clear()
  console.log(line)
}

function clear() {
  if (process.stdout.isTTY && show.count > 0) process.stdout.write(`\x1b[${show.count}A\x1b[J`)
  show.count = 0
}
