/** An embedded log in a temporary folder, with a hook that can be told to throw. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createEmbeddedLog, type EmbeddedLog } from '../../../../server/log/lmdb/embedded-log.ts'
import type { EmbeddedLogLimits } from '../../../../server/log/lmdb/limits.ts'
import type { LogUnderTest } from '../../../contract/log.ts'
import { silentLogger } from '../../../support/silent-logger.ts'

export interface EmbeddedLogUnderTest extends LogUnderTest {
  readonly log: EmbeddedLog
  readonly directory: string
  reopen(): Promise<EmbeddedLog>
}

export async function embeddedLogUnderTest(
  limits: Partial<EmbeddedLogLimits> = {},
): Promise<EmbeddedLogUnderTest> {
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-log-'))
  let failing: string | null = null
  const onStep = (step: string): void => {
    if (step !== failing) return
    failing = null
    throw new Error(`stopped at ${step}`)
  }
  const open = async (): Promise<EmbeddedLog> => {
    const log = createEmbeddedLog({ directory, logger: silentLogger, onStep, ...limits })
    await log.start()
    return log
  }
  const log = await open()
  let current = log
  return {
    log,
    directory,
    async reopen() {
      await current.close()
      current = await open()
      return current
    },
    failAt(step) {
      failing = step
    },
    async cleanup() {
      await current.close()
      await rm(directory, { recursive: true, force: true })
    },
  }
}
