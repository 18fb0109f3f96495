/**
 * Works on at most `atOnceMax` items at the same time, in the order in which they come, and takes the next one only when a
 * place is free: so a source is read as fast as its documents are done. Rejects with the first error, after the
 * items that were begun have ended.
 */
export async function sideBySide<T>(
  items: AsyncIterable<T>,
  atOnceMax: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const running = new Set<Promise<void>>()
  const failures: unknown[] = []
  try {
    for await (const item of items) {
      const task: Promise<void> = work(item)
        .catch((error: unknown) => {
          failures.push(error)
        })
        .finally(() => running.delete(task))
      running.add(task)
      if (running.size >= atOnceMax) await Promise.race(running)
      if (failures.length > 0) break
    }
  } finally {
    await Promise.all(running)
  }
  if (failures.length > 0) throw failures[0]
}
