/**
 * How long does it take from the start of the program to the first edit that is acknowledged? Without adapters, with views in a
 * new PGlite, and in one that is there already. Beside it: a `ws` server and its first echo.
 */
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cpuMs } from './harness/cpu.ts'
import { interleaveEach, judge, type Question, rowsOf, type Settings } from './harness/question.ts'
import { type RunningServer, type StartOptions, startServer } from './harness/servers.ts'
import { median } from './harness/statistics.ts'
import { viewsSettings } from './harness/views.ts'
import { EntriesDocument } from './load/entries.ts'
import { syncFrame } from './load/frames.ts'
import { openPeer, until } from './load/peer.ts'
import { Pusher } from './load/pusher.ts'
import { runLoad } from './load/run-load.ts'
import type { LoadResult } from './load/spec.ts'

const names = ['raw-each', 'without views', 'new views', 'existing views'] as const
const existing = 100
const ackedMsMax = 30_000

export const start: Question = async (settings) => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-bench-'))
  try {
    await makeViews(folder)
    const samples = await interleaveEach(names, settings, (name) => ask(name, folder, settings))
    const verdicts = judge(samples, names.slice(1), [{ figure: 'startMs', bound: 'atMost', value: 1000 }])
    return [{ question: 'start', rows: rowsOf(samples), verdicts, samples, notes: [] }]
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** A relay's folder in which views are. */
async function makeViews(folder: string): Promise<void> {
  const server = await startServer('embedded', { profileDir: null, relaySettings: viewsSettings('v1', null) })
  try {
    const steps = [{ from: 0, to: existing, atOnce: existing }]
    const fill = { ...server, kind: 'fill', prefix: 'bench/', documents: existing, steps, skip: 0 } as const
    const { errors } = await runLoad(fill)
    const caughtUp = await runLoad({
      ...server,
      kind: 'views-catch-up',
      metricsUrl: server.metricsUrl!,
      postgresPid: null,
      documents: existing,
    })
    const failed = [...errors, ...caughtUp.errors]
    if (failed.length > 0) throw new Error(`views could not be prepared: ${failed.join('; ')}`)
    await server.halt()
    cpSync(server.dataDir, folder, { recursive: true })
  } finally {
    await server.stop()
  }
}

async function ask(name: (typeof names)[number], folder: string, settings: Settings): Promise<LoadResult> {
  const options: StartOptions = {
    profileDir: settings.profileDir,
    ...(name === 'existing views' ? { copyOf: folder } : {}),
    ...(name === 'new views' || name === 'existing views'
      ? { relaySettings: viewsSettings('v1', null) }
      : {}),
  }
  const times: number[] = []
  const listeningTimes: number[] = []
  const cpuTimes: number[] = []
  const errors: string[] = []
  for (let i = 0; i < (settings.quick ? 2 : 5); i++) {
    const server = await startServer(name === 'raw-each' ? name : 'embedded', options)
    const listeningMs = performance.now() - server.spawnedMs
    try {
      const isAcked = name === 'raw-each' ? await echo(server) : await push(server, errors)
      if (!isAcked) errors.push('the edit was not acknowledged')
      times.push(performance.now() - server.spawnedMs)
      listeningTimes.push(listeningMs)
      cpuTimes.push(cpuMs(server.serverPid))
    } finally {
      await server.stop()
    }
  }
  const figures = {
    startMs: median(times),
    listeningMs: median(listeningTimes),
    serverCpuMs: median(cpuTimes),
  }
  return { cases: [{ name: '', figures }], errors }
}

async function push(server: RunningServer, errors: string[]): Promise<boolean> {
  const pusher = await Pusher.connect(server.address, (reason) => errors.push(reason))
  const document = await pusher.open('bench/first')
  pusher.push(document, new EntriesDocument().set(0, 1, false).update)
  const isAcked = await until(() => document.acked === document.sequence, ackedMsMax)
  pusher.end()
  return isAcked
}

async function echo({ address }: RunningServer): Promise<boolean> {
  let isBack = false
  const peer = openPeer({
    address,
    handshake: false,
    document: 'bench-first',
    onUpdate() {
      isBack = true
    },
    onBroken() {},
  })
  await peer.opened
  peer.socket.write(syncFrame(2, new EntriesDocument().set(0, 1, false).update))
  const back = await until(() => isBack, ackedMsMax)
  peer.socket.end()
  return back
}
