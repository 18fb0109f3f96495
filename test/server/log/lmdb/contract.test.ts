/** The embedded log, at its own limits and at limits so small that rotations and checkpoints never stop. */
import { type LogContractOptions, logContract } from '../../../contract/log.ts'
import { embeddedLogUnderTest } from './embedded-log-under-test.ts'

const options: LogContractOptions = {
  appendSteps: ['append.write', 'append.written'],
  compactSteps: ['compact.begin', 'compact.committed', 'compact.forgotten'],
  nodes: false,
}

logContract('lmdb', () => embeddedLogUnderTest({ segmentBytes: 256 * 1024 }), options)

logContract(
  'lmdb, rotating and checkpointing all the time',
  () =>
    embeddedLogUnderTest({
      segmentBytes: 4096,
      slabBytes: 2048,
      checkpointBytes: 1024,
      uncheckpointedBytesMax: 16_384,
      sliceBytes: 512,
      chunkBytes: 256,
      spareSegmentsMax: 2,
      documentsMax: 2,
    }),
  options,
)
