/**
 * What Redis or the way to it answered, as a row of the error table. The message names the cause by
 * the error's first word, never by its text, which may hold keys or values.
 */
import { TidemarkError } from '../../../core/protocol/errors.ts'

const causes: Readonly<Record<string, string>> = {
  OOM: 'Redis is out of memory (maxmemory)',
  READONLY: 'Redis is a read-only replica',
  MISCONF: 'Redis cannot persist to its disk (MISCONF)',
  LOADING: 'Redis is loading its data',
  BUSY: 'Redis is busy with a script',
  NOAUTH: 'Redis wants a password (NOAUTH)',
  WRONGPASS: 'Redis refused the user or password (WRONGPASS)',
  NOPERM: 'Redis denies a command to this user (NOPERM)',
  MASTERDOWN: 'Redis is a replica without its master',
  NOREPLICAS: 'Redis has too few replicas to write to (NOREPLICAS)',
  CLUSTERDOWN: 'The Redis cluster is down',
  TRYAGAIN: 'The Redis cluster is moving slots',
  UNKILLABLE: 'Redis is busy with a script',
}

/** What reading or appending met in the stored values themselves. */
const corrupt: readonly string[] = ['WRONGTYPE', 'CORRUPT']

export function firstWord(error: unknown): string {
  return /^[A-Z]{2,}/.exec(error instanceof Error ? error.message : String(error))?.[0] ?? ''
}

export const isUnknownFunction = (error: unknown): boolean =>
  error instanceof Error && /Function not found/i.test(error.message)

/** Why the connection or server failed, for people; holds no content. */
export function describeCause(error: unknown): string {
  const known = causes[firstWord(error)]
  if (known !== undefined) return known
  const code = (error as { code?: unknown } | null)?.code
  if (typeof code === 'string' && /^E[A-Z]+$/.test(code)) return `No connection to Redis (${code})`
  if (error instanceof Error && error.name !== 'Error') return `Redis failed (${error.constructor.name})`
  return 'Redis failed'
}

export function toTidemarkError(error: unknown): TidemarkError {
  if (error instanceof TidemarkError) return error
  const word = firstWord(error)
  if (corrupt.includes(word))
    return new TidemarkError('document_unreadable', `The stored document is damaged (${word})`, {
      cause: error,
    })
  return new TidemarkError('log_unavailable', describeCause(error), { cause: error })
}

export const unavailable = (why: string): TidemarkError => new TidemarkError('log_unavailable', why)
