/**
 * Work with a signal that is aborted when its time is up, or with another signal.
 *
 * Node 20 lets `AbortSignal.any([…, AbortSignal.timeout(ms)])` be collected while somebody listens to it, timer and all: then
 * the time is never up. Here the timer holds what it aborts, and nothing is left of it when the work has ended.
 */
export async function withDeadline<T>(
  ms: number,
  other: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const ending = new AbortController()
  const end = (): void => ending.abort(other.reason)
  const timer = setTimeout(() => ending.abort(new DOMException('The time is up', 'TimeoutError')), ms)
  if (other.aborted) end()
  else other.addEventListener('abort', end, { once: true })
  try {
    return await work(ending.signal)
  } finally {
    clearTimeout(timer)
    other.removeEventListener('abort', end)
  }
}
