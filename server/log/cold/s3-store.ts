/**
 * Cold snapshots in a bucket of S3 or of what speaks like it (MinIO, R2, Ceph):
 *
 *   s3://bucket/prefix?endpoint=https://host:port&region=eu-central-1
 *
 * Credentials are found by the SDK as usual: environment, web identity, the machine's role. With an endpoint
 * the bucket goes into the path, as most servers want it. Every request has a time limit and at most
 * `attemptsMax` attempts; the SDK is loaded when the store starts.
 *
 * The SDK's own checksums are used only where S3 demands them: other servers do not know its trailers, and
 * every snapshot is verified by its own hash anyway.
 */

import { addAbortSignal, type Readable } from 'node:stream'
import type { S3Client } from '@aws-sdk/client-s3'
import { withDeadline } from '../../deadline.ts'
import { type SnapshotStore, type StoredObject, StoreError } from './snapshot-store.ts'
import type { S3Address } from './store-address.ts'

type Sdk = typeof import('@aws-sdk/client-s3')

const attemptsMax = 3
const connectMsMax = 3_000
/** Without a byte moving. */
const idleMsMax = 10_000
/** One operation, attempts included; a snapshot of 1 GiB passes at 140 Mbit/s. */
const operationMsMax = 60_000
const socketsMax = 32

export function createS3Store(address: S3Address): SnapshotStore {
  return new S3Store(address)
}

class S3Store implements SnapshotStore {
  readonly name: string
  private readonly address: S3Address
  private sdk: Sdk | null = null
  private client: S3Client | null = null

  constructor(address: S3Address) {
    this.address = address
    this.name = `s3://${address.bucket}/${address.prefix}`
  }

  async start(): Promise<void> {
    const { endpoint, region } = this.address
    this.sdk = await import('@aws-sdk/client-s3')
    this.client = new this.sdk.S3Client({
      maxAttempts: attemptsMax,
      requestHandler: {
        connectionTimeout: connectMsMax,
        requestTimeout: operationMsMax,
        throwOnRequestTimeout: true,
        socketTimeout: idleMsMax,
        httpAgent: { maxSockets: socketsMax },
        httpsAgent: { maxSockets: socketsMax },
      },
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      ...(endpoint !== undefined && { endpoint, forcePathStyle: true, region: region ?? 'us-east-1' }),
      ...(region !== undefined && { region }),
    })
  }

  async close(): Promise<void> {
    this.client?.destroy()
  }

  put(key: string, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    return this.guarded(signal, async ({ sdk, client }, abortSignal) => {
      const input = { ...this.at(key), Body: bytes, ContentLength: bytes.length }
      await client.send(new sdk.PutObjectCommand(input), { abortSignal })
    })
  }

  get(key: string, bytesMax: number, signal: AbortSignal): Promise<Uint8Array> {
    return this.guarded(signal, async ({ sdk, client }, abortSignal) => {
      const input = { ...this.at(key), Range: `bytes=0-${bytesMax - 1}` }
      try {
        const { Body, ContentLength } = await client.send(new sdk.GetObjectCommand(input), { abortSignal })
        if (Body === undefined || ContentLength === undefined) throw new Error('an answer without a body')
        const body = addAbortSignal(abortSignal, Body as Readable)
        if (ContentLength > bytesMax) {
          body.destroy()
          throw new Error('an answer longer than the range')
        }
        return await readBody(body, ContentLength)
      } catch (error) {
        // What S3 answers for a range of an object without bytes.
        if (error instanceof sdk.S3ServiceException && error.name === 'InvalidRange') return new Uint8Array()
        throw error
      }
    })
  }

  delete(key: string, signal: AbortSignal): Promise<void> {
    return this.guarded(signal, async ({ sdk, client }, abortSignal) => {
      await client.send(new sdk.DeleteObjectCommand(this.at(key)), { abortSignal })
    })
  }

  list(
    prefix: string,
    after: string,
    countMax: number,
    signal: AbortSignal,
  ): Promise<readonly StoredObject[]> {
    return this.guarded(signal, async ({ sdk, client }, abortSignal) => {
      const ours = this.address.prefix
      const input = {
        Bucket: this.address.bucket,
        Prefix: ours + prefix,
        MaxKeys: countMax,
        ...(after !== '' && { StartAfter: ours + after }),
      }
      const { Contents = [] } = await client.send(new sdk.ListObjectsV2Command(input), { abortSignal })
      return Contents.map(({ Key = '', LastModified }) => ({
        key: Key.slice(ours.length),
        // An object of unknown age counts as new: nothing is ever removed for it.
        modifiedMs: LastModified?.getTime() ?? Number.POSITIVE_INFINITY,
      }))
    })
  }

  private at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.address.bucket, Key: this.address.prefix + key }
  }

  private async guarded<T>(
    signal: AbortSignal,
    work: (parts: { sdk: Sdk; client: S3Client }, abortSignal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { sdk, client } = this
    if (sdk === null || client === null) throw new StoreError('unavailable', 'S3: not started')
    try {
      return await withDeadline(operationMsMax, signal, (ending) => work({ sdk, client }, ending))
    } catch (error) {
      const name = error instanceof Error ? error.name : String(error)
      const missing = name === 'NoSuchKey' || name === 'NotFound'
      throw new StoreError(missing ? 'missing' : 'unavailable', `S3: ${name}`, { cause: error })
    }
  }
}

/** Into one buffer of its own; rejects when the answer ends early. */
async function readBody(body: Readable, length: number): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafeSlow(length)
  let position = 0
  for await (const chunk of body) {
    if (position + chunk.length > length) throw new Error('an answer longer than it said')
    bytes.set(chunk, position)
    position += chunk.length
  }
  if (position < length) throw new Error('an answer that ended early')
  return bytes
}
