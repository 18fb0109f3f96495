/** Waits for a condition; fails with what was awaited. The deadline is for what hangs: on a busy machine all takes eight times as long. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  withinMs = 100_000,
): Promise<void> {
  const deadline = Date.now() + withinMs
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
