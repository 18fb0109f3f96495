/**
 * The writing session of ../edit-trace.ts as peers of automerge-repo: 100 edits in a change, which is how often automerge-repo sends at most
 * of somebody who types. It has arrived when another peer was given the last head. A newcomer has to
 * get the same text, when the server has stored all of it as it likes it.
 */
import * as Automerge from '@automerge/automerge'
import { startCpuMeter } from '../../harness/cpu.ts'
import { generateEdits, readEditTrace } from '../edit-trace.ts'
import { sleep, until } from '../peer.ts'
import type { LoadResult, TraceSpec } from '../spec.ts'
import { untilCompacted } from '../trace.ts'
import { documentIdOf, joinPeers, RepoPeer } from './peer.ts'

const editsPerChange = 100
const windowOfChanges = 100
const knownMs = 1_000
const deadlineMs = 120_000

interface Content extends Record<string, unknown> {
  text: string
}

export async function repoTrace(spec: TraceSpec, name: string): Promise<LoadResult> {
  const { updates, text } = readEditTrace(spec.traceFile)
  const { changes, heads, engineBytes } = changesOf(updates.length)
  const places = new Map(heads.map((head, place) => [head, place]))
  const documentId = documentIdOf(name)
  const errors: string[] = []
  const onBroken = (reason: string): void => {
    errors.push(reason)
  }
  let reached = 0
  const [writer, reader] = await joinPeers(
    2,
    (index) =>
      new RepoPeer({
        ...spec,
        name: `session-${index}`,
        onSync(_, message) {
          const place = places.get(Buffer.from(message.heads[0] ?? []).toString('hex'))
          if (index === 1 && message.changes.length > 0 && place !== undefined)
            reached = Math.max(reached, place)
        },
        onBroken,
      }),
  )
  const send = (at: number): void =>
    writer!.sync(documentId, [Buffer.from(heads[at]!, 'hex')], [changes[at]!])
  const meter = startCpuMeter(spec.serverPid, spec.logPid)
  send(0)
  await sleep(knownMs)
  reader!.request(documentId)
  let sent = 1
  const isThere = await until(() => {
    for (; sent < changes.length && sent - reached < windowOfChanges; sent++) send(sent)
    return reached === changes.length - 1 || errors.length > 0
  }, deadlineMs)
  const cpu = meter.stop()
  if (!isThere) errors.push(`${changes.length - 1 - reached} of ${changes.length} changes never arrived`)
  for (const peer of [writer!, reader!]) peer.end()
  if (spec.metricsUrl !== null && !(await untilCompacted(spec.metricsUrl, spec.compactionDeadlineMs)).settled)
    errors.push(`no end of compaction in ${spec.compactionDeadlineMs} ms`)

  let replica = Automerge.init<Content>()
  let joinBytes = 0
  const from = performance.now()
  const [newcomer] = await joinPeers(
    1,
    () =>
      new RepoPeer({
        ...spec,
        name: 'newcomer',
        onSync(_, message, bytes) {
          joinBytes += bytes
          for (const change of message.changes)
            replica = Automerge.loadIncremental(replica, Uint8Array.from(change))
        },
        onBroken,
      }),
  )
  newcomer!.request(documentId)
  if (!(await until(() => replica.text === text, deadlineMs)))
    errors.push('a newcomer has another text than the trace')
  const joinMs = performance.now() - from
  newcomer!.end()
  const figures = {
    updatesPerSecond: (updates.length / cpu.wallMs) * 1000,
    ...cpu.figures,
    engineBytes,
    joinBytesCompacted: joinBytes,
    joinMsCompacted: joinMs,
  }
  return { cases: [{ name: '', figures }], errors: errors.slice(0, 20) }
}

/** The first one makes the document. */
function changesOf(editCount: number): { changes: Uint8Array[]; heads: string[]; engineBytes: number } {
  const edits: [number, string | null][] = []
  generateEdits((position, character) => {
    if (edits.length < editCount) edits.push([position, character])
  })
  let doc = Automerge.from<Content>({ text: '' })
  const changes = [Automerge.getLastLocalChange(doc)!]
  const heads = [Automerge.getHeads(doc)[0]!]
  for (let at = 0; at < edits.length; at += editsPerChange) {
    doc = Automerge.change(doc, (content) => {
      for (const [position, character] of edits.slice(at, at + editsPerChange))
        if (character === null) Automerge.splice(content, ['text'], position, 1)
        else Automerge.splice(content, ['text'], position, 0, character)
    })
    changes.push(Automerge.getLastLocalChange(doc)!)
    heads.push(Automerge.getHeads(doc)[0]!)
  }
  return { changes, heads, engineBytes: Automerge.save(doc).length }
}
