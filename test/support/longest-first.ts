/**
 * What takes longest starts first, so that no worker is left alone with it in the end. Vitest knows durations only of runs on the
 * same machine; without them it starts with the largest files.
 */
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/**
 * Of 20 s and more, longest first. One that is missing costs some idle time, no more. The first two start relays by the dozen, so that
 * what runs beside them takes eight times as long: that is what has no clock of its own.
 */
const longest = [
  'fault/relay-kill',
  'property/relay',
  'client/faulty-network',
  'server/log/cold/contract',
  'property/convergence',
  'server/main',
  'server/views/rebuild',
  'fault/views-kill',
  'fault/two-nodes',
  'fault/cold-kill',
  'server/views/relay',
  'server/gateway/limits',
  'browser/editor',
  'browser/overview',
  'browser/market',
  'server/gateway/http/query',
  'server/views/sql-embedded',
].map((name) => `/test/${name}.test.ts`)

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const place = longest.findIndex((name) => moduleId.endsWith(name))
      return place === -1 ? longest.length : place
    }
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b))
  }
}
