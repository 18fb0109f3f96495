/**
 * Work that waits for a socket to take what it was given: one after the other, each when the socket holds nothing more,
 * so that what one writes holds back the next. The sessions of a socket share one; without it all that were behind
 * would be brought up to date in the same moment, into one buffer.
 */
import type { Socket } from 'node:net'

export class Drain {
  private readonly socket: Socket
  private waiting: (() => Promise<void> | void)[] = []
  private running = false

  constructor(socket: Socket) {
    this.socket = socket
  }

  /** `work` must not reject. It is forgotten when the socket closes. */
  whenDrained(work: () => Promise<void> | void): void {
    this.waiting.push(work)
    if (!this.running) void this.run()
  }

  private async run(): Promise<void> {
    this.running = true
    while (this.waiting.length > 0) {
      await this.drained()
      if (this.socket.destroyed) this.waiting = []
      else await this.waiting.shift()!()
    }
    this.running = false
  }

  private drained(): Promise<void> {
    const { socket } = this
    if (!socket.writableNeedDrain || socket.destroyed) return Promise.resolve()
    return new Promise((resolve) => {
      const done = (): void => {
        socket.off('drain', done)
        socket.off('close', done)
        resolve()
      }
      socket.on('drain', done)
      socket.on('close', done)
    })
  }
}
