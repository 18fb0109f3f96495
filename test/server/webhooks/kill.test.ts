/**
 * At least once, whatever is killed: a process that announces is killed with SIGKILL at random moments and around
 * each write of its position, while the receiver fails now and then. In the end every document was announced at the
 * last offset that was acked, or a later one.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { createEmbeddedLog } from '../../../server/log/lmdb/embedded-log.ts'
import { dieTogether } from '../../support/die-together.ts'
import { randomOf, seed } from '../../support/seed.ts'
import { silentLogger } from '../../support/silent-logger.ts'
import { until } from '../../support/wait.ts'
import { ReceiverUnderTest, secretText } from './receiver-under-test.ts'
import { webhooksOn } from './webhooks-under-test.ts'

const documents = ['kill/a', 'kill/b', 'kill/c', 'kill/d']
let directory: string
let receiver: ReceiverUnderTest
let heads: Map<string, number>
const running = new Set<ChildProcess>()

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tidemark-webhooks-kill-'))
  receiver = new ReceiverUnderTest()
  heads = new Map()
  await receiver.start()
})

afterEach(async () => {
  for (const child of running) child.kill('SIGKILL')
  await receiver.stop()
  await rm(directory, { recursive: true, force: true })
  expect(receiver.doubtful).toEqual([])
})

interface Run {
  readonly killAtSave?: { readonly step: string; readonly count: number }
  readonly killAfterLines?: number
}

/** Resolves with the signal that ended it. */
async function run({ killAfterLines, ...settings }: Run): Promise<NodeJS.Signals | null> {
  const all = { ...settings, appends: 1_000_000, url: receiver.url, secret: secretText, documents }
  const file = join(import.meta.dirname, 'writer.mjs')
  const child = spawn(process.execPath, [file, directory, JSON.stringify(all)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  dieTogether(child)
  running.add(child)
  let errors = ''
  child.stderr.on('data', (data: Buffer) => {
    errors += data.toString()
  })
  let rest = ''
  let lines = 0
  child.stdout.setEncoding('latin1').on('data', (data: string) => {
    const complete = (rest + data).split('\n')
    rest = complete.pop() ?? ''
    for (const line of complete) {
      const [kind, document = '', offset] = line.split(' ')
      if (kind === 'a') heads.set(document, Math.max(heads.get(document) ?? 0, Number(offset)))
      if (++lines >= (killAfterLines ?? Number.POSITIVE_INFINITY)) child.kill('SIGKILL')
    }
  })
  const [, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  running.delete(child)
  expect(errors).toBe('')
  return signal
}

/** A start that ends well, in this process. */
async function announce(meanwhile: () => Promise<void>): Promise<void> {
  const log = createEmbeddedLog({ directory, logger: silentLogger })
  await log.start()
  const { webhooks, lines } = webhooksOn({ log, receiver })
  await webhooks.start()
  await until('it announces', () => lines.some((line) => line.includes('this node announces')))
  await meanwhile()
  await webhooks.close()
  await log.close()
}

const firstStart = () => announce(async () => {})

const allIsHeard = () =>
  announce(async () => {
    expect(heads.size).toBeGreaterThan(0)
    for (const [document, offset] of heads) await receiver.hasHeard(document, offset)
  })

const random = randomOf(seed)
const failNowAndThen = (): number => (random() < 0.3 ? 500 : 204)

for (const step of ['append', 'appended', 'compacted'])
  it(`nothing is lost when the process is killed at the step ${step} of storing its position`, async () => {
    await firstStart()
    receiver.answer = failNowAndThen
    const count = step === 'compacted' ? 1 : 5
    expect(await run({ killAtSave: { step, count } })).toBe('SIGKILL')
    await allIsHeard()
  })

it('nothing is lost when the process is killed at random moments, again and again', async () => {
  await firstStart()
  receiver.answer = failNowAndThen
  for (let trial = 0; trial < 3; trial++) {
    const killAfterLines = 1 + Math.floor(random() * 200)
    expect(await run({ killAfterLines })).toBe('SIGKILL')
  }
  await allIsHeard()
})
