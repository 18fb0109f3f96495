/**
 * Work that arrives together leaves together: rooms with something to do are collected while the
 * event loop reads sockets, and flushed once in the check phase that follows. However many updates
 * came in one tick, a room makes one append and each socket gets one write.
 */
export interface Flushable {
  flush(): void
}

export class Tick {
  private dirty: Flushable[] = []

  schedule(item: Flushable): void {
    if (this.dirty.push(item) === 1) setImmediate(this.run)
  }

  private readonly run = (): void => {
    const items = this.dirty
    this.dirty = []
    for (const item of items) item.flush()
  }
}
