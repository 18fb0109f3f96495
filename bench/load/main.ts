/** The load generator's process: takes one spec, answers with one result, ends. */
import { documents } from './documents.ts'
import { fanOut } from './fan-out.ts'
import { offlineReturn } from './offline-return.ts'
import type { LoadResult, LoadSpec } from './spec.ts'
import { trace } from './trace.ts'

function run(spec: LoadSpec): Promise<LoadResult> {
  switch (spec.kind) {
    case 'fan-out':
      return fanOut(spec, 'bench-fan-out')
    case 'documents':
      return documents(spec, 'bench-document')
    case 'trace':
      return trace(spec, 'bench-trace')
    case 'offline-return':
      return offlineReturn(spec, 'bench-return')
  }
}

process.once('message', (spec: LoadSpec) => {
  run(spec)
    .catch((error: unknown): LoadResult => ({ cases: [], errors: [String(error)] }))
    .then((result) => process.send!(result, () => process.exit(0)))
    .catch(() => process.exit(1))
})
