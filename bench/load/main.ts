/** The load generator's process: takes one spec, answers with one result, ends. */
import { automerge } from './automerge.ts'
import { clientsReturn } from './clients-return.ts'
import { decisions } from './decisions.ts'
import { documents } from './documents.ts'
import { kill, recover } from './durability.ts'
import { fanOut } from './fan-out.ts'
import { fill } from './fill.ts'
import { fold } from './fold.ts'
import { idle, openIdle } from './idle.ts'
import { join, store } from './join.ts'
import { nodes } from './nodes.ts'
import { offlineReturn } from './offline-return.ts'
import { paste } from './paste.ts'
import { openAwareness, presence } from './presence.ts'
import { rawRows } from './raw-rows.ts'
import { reconnect } from './reconnect.ts'
import { repoDocuments } from './repo/documents.ts'
import { repoKill, repoRecover } from './repo/durability.ts'
import { openIdleRepoPeer } from './repo/idle.ts'
import { repoJoin, repoStore } from './repo/join.ts'
import { repoOfflineReturn } from './repo/offline-return.ts'
import { openEphemera } from './repo/presence.ts'
import { repoTrace } from './repo/stored.ts'
import type { LoadResult, LoadSpec } from './spec.ts'
import { trace } from './trace.ts'
import { viewsCatchUp } from './views-catch-up.ts'
import { viewsFlat } from './views-flat.ts'
import { viewsLatency } from './views-latency.ts'

/** The same loads as automerge-repo's peers put them on; null where they have none. */
function runOfRepo(spec: LoadSpec): Promise<LoadResult> | null {
  if (!('automergePath' in spec)) return null
  switch (spec.kind) {
    case 'fan-out':
      return repoDocuments(spec, 'bench-fan-out')
    case 'documents':
      return repoDocuments(spec, 'bench-document')
    case 'trace':
      return repoTrace(spec, 'bench-trace')
    case 'offline-return':
      return repoOfflineReturn(spec, 'bench-return')
    case 'join':
      return repoJoin(spec)
    case 'store':
      return repoStore(spec)
    case 'kill':
      return repoKill(spec, 'bench-kill')
    case 'recover':
      return repoRecover(spec, 'bench-kill')
    case 'idle':
      return idle(spec, 'bench-idle', openIdleRepoPeer(spec))
    case 'presence':
      return presence(spec, 'bench-presence', openEphemera)
    default:
      return null
  }
}

function run(spec: LoadSpec): Promise<LoadResult> {
  switch (spec.kind) {
    case 'automerge':
      return automerge(spec)
    case 'fan-out':
      return fanOut(spec, 'bench-fan-out')
    case 'documents':
      return documents(spec, 'bench-document')
    case 'trace':
      return trace(spec, 'bench-trace')
    case 'offline-return':
      return offlineReturn(spec, 'bench-return')
    case 'clients-return':
      return clientsReturn(spec, 'bench-clients')
    case 'reconnect':
      return reconnect(spec, 'bench-reconnect')
    case 'join':
      return join(spec)
    case 'store':
      return store(spec)
    case 'kill':
      return kill(spec, 'bench-kill')
    case 'recover':
      return recover(spec, 'bench-kill')
    case 'idle':
      return idle(spec, 'bench-idle', openIdle(spec))
    case 'presence':
      return presence(spec, 'bench-presence', openAwareness)
    case 'paste':
      return paste(spec, 'bench-paste')
    case 'nodes':
      return nodes(spec, 'bench-nodes')
    case 'fill':
      return fill(spec)
    case 'views-latency':
      return viewsLatency(spec, 'bench/')
    case 'views-flat':
      return viewsFlat(spec, 'bench/')
    case 'decisions':
      return decisions(spec, 'bench/')
    case 'views-catch-up':
      return viewsCatchUp(spec)
    case 'raw-rows':
      return rawRows(spec)
    case 'fold':
      return fold(spec)
  }
}

process.once('message', (spec: LoadSpec) => {
  ;(runOfRepo(spec) ?? run(spec))
    .catch((error: unknown): LoadResult => ({ cases: [], errors: [String(error)] }))
    .then((result) => process.send!(result, () => process.exit(0)))
    .catch(() => process.exit(1))
})
