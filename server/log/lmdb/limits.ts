/**
 * Every limit of the embedded log, with the values it runs at unless told otherwise. Disk beyond the
 * documents themselves: at most `uncheckpointedBytesMax` plus `spareSegmentsMax` segments of journal.
 */
export interface EmbeddedLogLimits {
  /** A journal file; zero-filled before use. */
  readonly segmentBytes: number
  /** One block of memory for journal records, and so the largest group commit of small appends. */
  readonly slabBytes: number
  /** Entries of one `append` together. */
  readonly appendBytesMax: number
  /** Appends not yet durable; beyond it they are refused as `overloaded`. */
  readonly queuedBytesMax: number
  /** Journal bytes after which a checkpoint starts. */
  readonly checkpointBytes: number
  readonly checkpointAgeMs: number
  /** Journal bytes not yet checkpointed; beyond it appends wait for the checkpoint. */
  readonly uncheckpointedBytesMax: number
  /** What one LMDB transaction of a checkpoint writes, about. */
  readonly sliceBytes: number
  /** Entries in one LMDB value; a larger entry has a value of its own. */
  readonly chunkBytes: number
  /** Checkpointed segments kept to be written again. */
  readonly spareSegmentsMax: number
  /** Documents with state in memory; more only while they have followers or unwritten entries. */
  readonly documentsMax: number
  /** Replicas whose last push a document remembers; the most recent are kept. */
  readonly replicasMax: number
  /** First and longest pause before a failed write is tried again. */
  readonly retryMs: number
  readonly retryMsMax: number
}

const mebibyte = 1024 * 1024

export const embeddedLogLimits: EmbeddedLogLimits = {
  segmentBytes: 16 * mebibyte,
  slabBytes: mebibyte,
  appendBytesMax: 256 * mebibyte,
  queuedBytesMax: 512 * mebibyte,
  checkpointBytes: 64 * mebibyte,
  checkpointAgeMs: 60_000,
  uncheckpointedBytesMax: 256 * mebibyte,
  sliceBytes: 2 * mebibyte,
  chunkBytes: mebibyte,
  spareSegmentsMax: 6,
  documentsMax: 20_000,
  replicasMax: 512,
  retryMs: 50,
  retryMsMax: 5_000,
}

/** Names the place in an append, rotation, checkpoint or compaction; tests crash there. */
export type Step = (name: string) => void
