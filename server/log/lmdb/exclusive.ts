/** Runs one at a time, in the order of asking: LMDB has one writer, and its writes read state first. */
export class Exclusive {
  private last: Promise<unknown> = Promise.resolve()

  run<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.last.then(work)
    this.last = result.catch(() => {
      // The caller of `run` owns the error; the next in line only waits.
    })
    return result
  }
}
