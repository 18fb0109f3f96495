/** The embedded log, at its own limits and at limits so small that rotations and checkpoints never stop. */
import { type LogContractOptions, logContract } from '../../../contract/log.ts'
import { busyLogLimits } from '../../../support/busy-log.ts'
import { embeddedLogUnderTest } from './embedded-log-under-test.ts'

const options: LogContractOptions = {
  appendSteps: ['append.write', 'append.written'],
  compactSteps: ['compact.begin', 'compact.committed', 'compact.forgotten'],
  nodes: false,
}

logContract('lmdb', () => embeddedLogUnderTest({ segmentBytes: 256 * 1024 }), options)

logContract(
  'lmdb, rotating and checkpointing all the time',
  () => embeddedLogUnderTest(busyLogLimits),
  options,
)
