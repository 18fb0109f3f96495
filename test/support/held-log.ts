/**
 * A real log of which one call waits as long as a test says so: `append` before it is written, `load` before it is read, `loaded`
 * between reading and telling.
 */
import type { Log } from '../../server/log/log.ts'

export interface Held {
  /** From here on they wait. */
  hold(): void
  /** All that wait go on, and those that come. */
  release(): void
  /** How many wait. */
  readonly waiting: number
  /** While it is not null, they fail with it. */
  failing: Error | null
}

/** Changes the log. */
export function held(log: Log, what: 'append' | 'load' | 'loaded'): Held {
  let waiting: (() => void)[] | null = null
  const gate = async (): Promise<void> => {
    if (waiting !== null) await new Promise<void>((go) => waiting!.push(go))
    if (told.failing !== null) throw told.failing
  }
  const append = log.append.bind(log)
  const load = log.load.bind(log)
  if (what === 'append')
    log.append = async (...given) => {
      await gate()
      return append(...given)
    }
  else
    log.load = async (...given) => {
      if (what === 'load') await gate()
      const loaded = await load(...given)
      if (what === 'loaded') await gate()
      return loaded
    }
  const told: Held = {
    failing: null,
    hold() {
      waiting = []
    },
    release() {
      const all = waiting ?? []
      waiting = null
      for (const go of all) go()
    },
    get waiting() {
      return waiting?.length ?? 0
    },
  }
  return told
}
