/**
 * What processes cost, from /proc: user and system time of all threads (kernel work on their behalf,
 * such as loopback delivery, included), and resident memory. `busyMs` is the whole machine's, so that
 * a run can say how much of it went to somebody else.
 */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'

const tickMs = 10
/** More than rounding to ticks makes of it. */
const endedMsMin = 50

/**
 * The scheduler's own nanoseconds of every thread where the kernel keeps them. The ticks of /proc/<pid>/stat
 * say who ran when the timer fired, and a load that is paced by timers runs in step with it: the same
 * server was seen at 0.17 and at 0.26 of a core. A thread that ends takes its time along, of which the meter below knows.
 */
export function cpuMs(pid: number): number {
  try {
    let nanoseconds = 0
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ', 1)[0])
    }
    return nanoseconds / 1e6
  } catch {
    // A kernel without CONFIG_SCHED_INFO, or a thread that ended in between.
    return ticksMs(pid)
  }
}

function ticksMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * tickMs
}

export function residentBytes(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))
  return Number(line?.[1] ?? 0) * 1024
}

/** From now on `residentPeakBytes` tells the highest since this call. */
export function resetResidentPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5')
}

export function residentPeakBytes(pid: number): number {
  const line = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))
  return Number(line?.[1] ?? 0) * 1024
}

/** What a folder takes in the file system. */
export function diskBytes(folder: string): number {
  return Number(execFileSync('du', ['-s', '--block-size=1', folder], { encoding: 'utf8' }).split('\t')[0])
}

/** Time that all processors together spent on anything but idling and waiting for disks. */
export function busyMs(): number {
  const fields = readFileSync('/proc/stat', 'latin1')
    .split('\n', 1)[0]!
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number)
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = fields
  return (user + nice + system + irq + softirq + steal) * tickMs
}

export interface CpuUse {
  readonly serverMs: number
  /** 0 where the log is in the server's process. */
  readonly logMs: number
  readonly loadMs: number
  /** Everybody else on the machine. */
  readonly foreignMs: number
  readonly wallMs: number
  /** The figures that every load tells. */
  readonly figures: Readonly<Record<string, number>>
}

export interface CpuMeter {
  stop(): CpuUse
}

/**
 * What the process took since then: by its threads, or by its ticks when those say so much more that a thread must have ended. A
 * relay's do, which load or compact large documents.
 */
function cpuSince(pid: number): () => number {
  const from = { threads: cpuMs(pid), ticks: ticksMs(pid) }
  return () => {
    const [threads, ticks] = [cpuMs(pid) - from.threads, ticksMs(pid) - from.ticks]
    return ticks - threads > endedMsMin ? ticks : threads
  }
}

/** Measures the server (all its processes together), its log, and this process, which is the load. */
export function startCpuMeter(server: number | readonly number[], logPid: number | null): CpuMeter {
  const serverPids = typeof server === 'number' ? [server] : server
  const meters = serverPids.map(cpuSince)
  const sum = (of: (pid: number) => number) => serverPids.reduce((total, pid) => total + of(pid), 0)
  const read = () => ({
    log: logPid === null ? 0 : cpuMs(logPid),
    load: serverPids.includes(process.pid) ? 0 : cpuMs(process.pid),
    busy: busyMs(),
    wall: performance.now(),
  })
  const from = read()
  return {
    stop() {
      const to = read()
      const serverMs = meters.reduce((total, since) => total + since(), 0)
      const logMs = to.log - from.log
      const loadMs = to.load - from.load
      const foreignMs = Math.max(0, to.busy - from.busy - serverMs - logMs - loadMs)
      const wallMs = to.wall - from.wall
      const figures = {
        serverCores: serverMs / wallMs,
        ...(logPid === null ? {} : { logCores: logMs / wallMs }),
        loadCores: loadMs / wallMs,
        foreignCores: foreignMs / wallMs,
        serverResidentBytes: sum(residentBytes),
      }
      return { serverMs, logMs, loadMs, foreignMs, wallMs, figures }
    },
  }
}
