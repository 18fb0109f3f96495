/** The embedded log where its background work never stops: limits for that, and the steps at which a test can stop it. */
import type { EmbeddedLogLimits } from '../../server/log/lmdb/limits.ts'

export const busyLogLimits: Partial<EmbeddedLogLimits> = {
  segmentBytes: 4096,
  slabBytes: 2048,
  checkpointBytes: 1024,
  uncheckpointedBytesMax: 16_384,
  sliceBytes: 512,
  chunkBytes: 256,
  spareSegmentsMax: 2,
  documentsMax: 2,
}

export const logSteps = [
  'append.write',
  'append.written',
  'rotate.filled',
  'rotate.header',
  'rotate.renamed',
  'rotate.switched',
  'checkpoint.start',
  'checkpoint.slice',
  'checkpoint.sliced',
  'checkpoint.marked',
  'checkpoint.trimmed',
  'compact.begin',
  'compact.committed',
  'compact.forgotten',
]
