/** Waits until the views of a relay that was just started have all that is in its log. The rows tell how fast that was. */
import { cpuMs, residentPeakBytes, startCpuMeter } from '../harness/cpu.ts'
import { postgresCpuMs } from '../harness/postgres.ts'
import type { LoadResult, ViewsCatchUpSpec } from './spec.ts'
import { viewsSettled } from './views-settled.ts'

const deadlineMs = 280_000

export async function viewsCatchUp(spec: ViewsCatchUpSpec): Promise<LoadResult> {
  const meter = startCpuMeter(spec.serverPid, spec.logPid)
  const errors: string[] = []
  if (!(await viewsSettled(spec.metricsUrl, spec.documents, deadlineMs)))
    errors.push('the views did not follow')
  const { foreignCores = 0 } = meter.stop().figures
  const figures = {
    // Since its start, which costs some tenths of a second.
    serverCpuMs: cpuMs(spec.serverPid),
    ...(spec.postgresPid === null ? {} : { sqlCpuMs: postgresCpuMs(spec.postgresPid) }),
    serverResidentPeakBytes: residentPeakBytes(spec.serverPid),
    foreignCores,
  }
  return { cases: [{ name: '', figures }], errors }
}
