/**
 * P1 for the embedded log: kill -9 at each named step, and at random moments. Whatever the process
 * reported as acked, or as told to a follower, is there afterwards at its offset, once, without gaps;
 * `list` and `changes` name every document, and to a reader of changes those that got entries since
 * it was last told; and the log goes on from there.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createEmbeddedLog } from '../../server/log/lmdb/embedded-log.ts'
import { changesFrom, contentsOf, documentOf } from '../contract/log-model.ts'
import { logSteps } from '../support/busy-log.ts'
import { randomOf, seed } from '../support/seed.ts'
import { silentLogger } from '../support/silent-logger.ts'

const writer = fileURLToPath(new URL('./embedded-log-writer.mjs', import.meta.url))
const documents = ['fault/a', 'fault/b', 'fault/c'].map(documentOf)
/** So small that rotations, checkpoints and recycling happen all the time. */
const limits = {
  segmentBytes: 8192,
  slabBytes: 4096,
  checkpointBytes: 16_384,
  uncheckpointedBytesMax: 65_536,
  sliceBytes: 4096,
  chunkBytes: 1024,
  spareSegmentsMax: 2,
  documentsMax: 2,
}

let directory: string
let runs = 0
/** What was reported so far: document → offset → text. */
let reported: Map<string, Map<number, string>>
/** How far a reader of changes had got, and what it had then loaded: document → head. */
let projected: { after: number; heads: Map<string, number> }
const running = new Set<ChildProcess>()

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tidemark-kill-'))
  reported = new Map(documents.map((document) => [document, new Map()]))
  projected = { after: 0, heads: new Map() }
})

afterEach(async () => {
  for (const child of running) child.kill('SIGKILL')
  await rm(directory, { recursive: true, force: true })
})

interface Run {
  readonly appends: number
  readonly killAt?: string
  readonly killAfter?: number
  /** Kills from outside once so many lines were reported. */
  readonly killAfterLines?: number
}

/** Runs the writer to its end; returns the signal that ended it. */
async function runWriter(run: Run): Promise<NodeJS.Signals | null> {
  const settings = { ...run, run: `run${++runs}`, startAfter: projected.after, limits }
  const child = spawn(process.execPath, [writer, directory, JSON.stringify(settings)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  running.add(child)
  let output = ''
  let errors = ''
  let lines = 0
  child.stdout.setEncoding('latin1').on('data', (data: string) => {
    output += data
    for (const character of data) if (character === '\n') lines++
    if (run.killAfterLines !== undefined && lines >= run.killAfterLines) child.kill('SIGKILL')
  })
  child.stderr.setEncoding('utf8').on('data', (data: string) => {
    errors += data
  })
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  running.delete(child)
  expect(errors).toBe('')
  if (signal === null) expect(code).toBe(0)
  for (const line of output.split('\n').slice(0, -1)) {
    const [kind, document, offset, text] = line.split(' ')
    expect(kind, line).toMatch(/^[afcp]$/)
    if (kind === 'p') projected.after = Number(offset)
    if (kind === 'c') projected.heads.set(document!, Number(offset))
    if (kind === 'c' || kind === 'p') continue
    const known = reported.get(document!)!
    expect(known.get(Number(offset)) ?? text, `two entries at ${document} ${offset}`).toBe(text)
    known.set(Number(offset), text!)
  }
  return signal
}

/** Opens the log as a restart would, and holds it to what was reported. */
async function verify(): Promise<number> {
  const log = createEmbeddedLog({ directory, logger: silentLogger, ...limits })
  await log.start()
  let entries = 0
  for (const document of documents) {
    const contents = contentsOf(await log.load(document))
    expect(new Set(contents).size, 'an update was appended twice').toBe(contents.length)
    for (const [offset, text] of reported.get(document)!) expect(contents[offset - 1]).toBe(text)
    // What survived without being acked is from now on part of the document, too.
    for (const [i, text] of contents.entries()) reported.get(document)!.set(i + 1, text)
    entries += contents.length
  }
  const written = documents.filter((document) => reported.get(document)!.size > 0)
  expect(await log.list('', '', 100)).toEqual(written)
  const named = (await changesFrom(log, 0)).map((change) => change.document)
  expect([...named].sort()).toEqual(written)
  const since = (await changesFrom(log, projected.after, 1)).map((change) => change.document)
  for (const document of written)
    if (reported.get(document)!.size > (projected.heads.get(document) ?? 0)) expect(since).toContain(document)
  await log.close()
  return entries
}

describe('the embedded log loses nothing that was acked or told when its process is killed', () => {
  for (const step of logSteps)
    it(`at ${step}`, async () => {
      await runWriter({ appends: 20 })
      // Fillings are rare once segments are recycled, so the first must do; others are hit in mid-flight.
      const killAfter = step === 'rotate.filled' ? 1 : 3
      expect(await runWriter({ appends: 200, killAt: step, killAfter })).toBe('SIGKILL')
      expect(await verify()).toBeGreaterThan(0)
      expect(await runWriter({ appends: 5 })).toBeNull()
      await verify()
    })

  it('at random moments, again and again on one directory', async () => {
    let entries = 0
    const random = randomOf(seed)
    for (let trial = 0; trial < 25; trial++) {
      const killAfterLines = 1 + Math.floor(random() * 400)
      const signal = await runWriter({ appends: 400, killAfterLines })
      expect(signal, `killed after ${killAfterLines} lines`).toBe('SIGKILL')
      const found = await verify()
      expect(found, `killed after ${killAfterLines} lines`).toBeGreaterThan(entries)
      entries = found
    }
  })
})
