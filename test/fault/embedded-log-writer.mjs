/**
 * A process with an embedded log that appends, retries, follows and compacts until it is killed or
 * told the end by its `appends`, and reads the changes as a projector would. It runs on dist/, and
 * writes to stdout, synchronously:
 *
 *   a <document> <offset> <text>    acked        f <document> <offset> <text>    told to a follower
 *   c <document> <offset>           a change, and the head that a load found then
 *   p all <sequence>                all changes up to there were read
 *
 * argv: directory, JSON {run, appends, startAfter, killAt?, killAfter?, limits}. At the `killAfter`-th arrival at
 * the step `killAt` it kills itself with SIGKILL.
 */
import { writeSync } from 'node:fs'
import { ByteWriter } from '../../dist/core/bytes.js'
import { createEmbeddedLog } from '../../dist/server/log/lmdb/embedded-log.js'

const [directory, json] = process.argv.slice(2)
const { run, appends, startAfter, killAt, killAfter, limits } = JSON.parse(json)

let arrivals = 0
function onStep(step) {
  if (step !== killAt || ++arrivals < killAfter) return
  process.kill(process.pid, 'SIGKILL')
  for (;;);
}

function report(line) {
  writeSync(1, `${line}\n`)
}

const quiet = () => {}
const logger = { debug: quiet, info: quiet, warn: quiet, error: quiet }
const log = createEmbeddedLog({ directory, logger, onStep, ...limits })
await log.start()

const documents = ['fault/a', 'fault/b', 'fault/c']
const text = (bytes) => Buffer.from(bytes).toString('latin1')

async function follow(document, after) {
  await log.follow(document, after, {
    onEntries: (entries) => {
      for (const { offset, update } of entries) report(`f ${document} ${offset} ${text(update)}`)
    },
    onEphemeral: quiet,
    onCompactedPast: quiet,
  })
}

async function compact(document) {
  const { snapshot, tail, offset } = await log.load(document)
  if (tail.length === 0) return
  const writer = new ByteWriter()
  if (snapshot !== null) writer.raw(snapshot.bytes)
  for (const { update } of tail) writer.varBytes(update)
  const index = Buffer.from(`i${offset}`)
  const metadata = Buffer.from(`m${offset}`)
  await log.compact(document, { offset, bytes: writer.finish(), index, metadata }, snapshot?.offset ?? 0)
}

async function write(document, writer) {
  const replica = `${run}-${writer}`
  for (let sequence = 1; sequence <= appends; sequence++) {
    const update = Buffer.from(`${replica}-${sequence}${'.'.repeat((sequence * 37) % 200)}`)
    const entry = {
      timeMs: 1_700_000_000_000,
      author: '',
      origin: replica,
      key: { replica, sequence },
      update,
    }
    const [[first], [again]] = await Promise.all([
      log.append(document, [entry]),
      sequence % 5 === 0 ? log.append(document, [entry]) : Promise.resolve([null]),
    ])
    report(`a ${document} ${first.offset} ${text(update)}`)
    if (first.duplicate || again?.duplicate === false) report(`duplicate ${text(update)}`)
    if (writer === 0 && sequence % 10 === 0) await compact(document)
  }
}

let writing = true
async function project() {
  const heads = new Map()
  for (let after = startAfter, last = false; !last; ) {
    last = !writing
    const changes = await log.changes(after, 1)
    if (changes.length === 0) continue
    for (const { document } of changes) {
      heads.set(document, (await log.load(document, heads.get(document))).offset)
      report(`c ${document} ${heads.get(document)}`)
    }
    after = changes.at(-1).sequence
    report(`p all ${after}`)
  }
}

for (const document of documents) await follow(document, (await log.load(document)).offset)
const projecting = project()
await Promise.all(documents.flatMap((document) => [0, 1, 2, 3].map((writer) => write(document, writer))))
writing = false
await projecting
await log.close()
