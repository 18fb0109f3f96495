/** Somebody who has nothing, and a tail that is compacted for them first: never without everything, and never for long. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as Automerge from '@automerge/automerge'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { DocumentId } from '../../../core/document-id.ts'
import { Compactor } from '../../../server/compaction/compactor.ts'
import { createEmbeddedLog } from '../../../server/log/lmdb/embedded-log.ts'
import { Metrics } from '../../../server/metrics.ts'
import { Image, ImageBudget } from '../../../server/room/image.ts'
import { silentLogger } from '../../support/silent-logger.ts'
import { until } from '../../support/wait.ts'

const directory = mkdtempSync(join(tmpdir(), 'tidemark-newcomer-'))
const log = createEmbeddedLog({ directory, logger: silentLogger })
let image: Image | null = null
let compacted = false
const compactor = new Compactor({
  log,
  limits: { tailBytesMax: 1e9, tailCountMax: 1e9, tailAgeMsMax: 1e12, idleTailCountMin: 1e9, intervalMs: 0 },
  threads: 1,
  timeoutMs: 30_000,
  workerMemoryMb: 512,
  newcomerMsMax: 300,
  logger: silentLogger,
  metrics: new Metrics(),
  onCompacted: () => {
    compacted = true
    image?.drop()
  },
})
beforeAll(() => log.start())
afterAll(async () => {
  await compactor.close()
  await log.close()
  rmSync(directory, { recursive: true })
})

interface Content extends Record<string, unknown> {
  text: string
}
const newcomer = Uint8Array.of(0)
const entryOf = (update: Uint8Array) => ({ timeMs: Date.now(), author: '', origin: 'o', update })

async function typed(
  document: DocumentId,
): Promise<{ readonly changes: readonly Uint8Array[]; readonly text: string }> {
  let doc = Automerge.from<Content>({ text: '' })
  const changes = [Automerge.getLastLocalChange(doc)!]
  for (let i = 0; i < 200; i++) {
    doc = Automerge.change(doc, (content) =>
      Automerge.splice(content, ['text'], i, 0, randomBytes(20).toString('hex')),
    )
    changes.push(Automerge.getLastLocalChange(doc)!)
  }
  await log.append(document, changes.map(entryOf))
  return { changes, text: doc.text }
}
const textOf = (chunks: readonly Uint8Array[]): string => Automerge.load<Content>(Buffer.concat(chunks)).text

test('while another node compacts, a newcomer is given the tail as it was written, at once', async () => {
  const document = 'leased' as DocumentId
  const { changes, text } = await typed(document)
  image = new Image(document, log, new ImageBudget(1e9, (id) => compactor.compactForNewcomer(id)))
  const lease = await log.lease(document, 60_000)
  const { chunks } = await image.join(newcomer, 'automerge', Date.now())
  expect(Buffer.concat(chunks)).toEqual(Buffer.concat(changes))
  expect(textOf(chunks)).toBe(text)
  await lease!.release()
  // A slow machine may take longer to start a thread than a newcomer is let wait.
  expect(textOf((await image.join(newcomer, 'automerge', Date.now() + 10_000)).chunks)).toBe(text)
  await until('it is compacted', () => compacted)
  const later = await image.join(newcomer, 'automerge', Date.now() + 20_000)
  expect(later.chunks).toEqual([(await log.load(document)).snapshot!.bytes])
  expect(textOf(later.chunks)).toBe(text)
})

test('newcomers that come together ask for one compaction, and in vain get what there is', async () => {
  const document = 'in-vain' as DocumentId
  await typed(document)
  let asked = 0
  image = new Image(document, log, new ImageBudget(1e9, async () => void asked++))
  const all = await Promise.all(
    Array.from({ length: 5 }, () => image!.join(newcomer, 'automerge', Date.now())),
  )
  expect(asked).toBe(1)
  for (const { chunks } of all) expect(chunks).toEqual(all[0]!.chunks)
})

test('for a large document nobody waits: who comes first gets the tail as it was written, who comes later gets less', async () => {
  const document = 'large' as DocumentId
  let doc = Automerge.from<{ pictures: Uint8Array[] }>({ pictures: [] })
  const changes = [Automerge.getLastLocalChange(doc)!]
  for (let i = 0; i < 50; i++) {
    doc = Automerge.change(doc, ({ pictures }) => void pictures.push(new Uint8Array(randomBytes(50_000))))
    changes.push(Automerge.getLastLocalChange(doc)!)
  }
  await log.append(document, changes.map(entryOf))
  compacted = false
  let done = (): void => undefined
  const held = new Promise<void>((resolve) => {
    done = resolve
  })
  image = new Image(
    document,
    log,
    new ImageBudget(1e9, () => held.then(() => compactor.compactNow(document))),
  )
  const { chunks } = await image.join(newcomer, 'automerge', Date.now())
  expect(Buffer.concat(chunks).equals(Buffer.concat(changes))).toBe(true)
  done()
  await until('it is compacted', () => compacted)
  const later = await image.join(newcomer, 'automerge', Date.now())
  const { snapshot } = await log.load(document)
  expect(Buffer.concat(later.chunks).equals(snapshot!.bytes)).toBe(true)
})
