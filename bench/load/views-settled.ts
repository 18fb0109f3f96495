import { metricOf } from './metric.ts'
import { sleep } from './peer.ts'

/** The relay says once a second where its views are. */
const lookMs = 400
const looks = 4

/** Resolves when nothing waits to be projected, and that much was; false at the deadline. */
export async function viewsSettled(
  metricsUrl: string,
  documentsMin: number,
  deadlineMs: number,
): Promise<boolean> {
  const end = performance.now() + deadlineMs
  let quiet = 0
  while (quiet < looks) {
    if (performance.now() > end) return false
    const pending = await metricOf(metricsUrl, 'tidemark_views_pending')
    const projected = await metricOf(metricsUrl, 'tidemark_views_projected_documents')
    quiet = pending === 0 && projected >= documentsMin ? quiet + 1 : 0
    await sleep(lookMs)
  }
  return true
}
