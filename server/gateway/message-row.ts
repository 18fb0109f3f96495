/**
 * Messages to somebody who may have to wait: while something is asked of somebody, what comes stands in a row, in order,
 * and whoever limits what waits is told of its bytes.
 */
interface Waiting<Message> {
  readonly message: Message
  readonly bytes: number
}

export interface RowListener<Message> {
  take(message: Message): void
  /** So many bytes more, or less, stand in the row. */
  waiting(bytes: number): void
}

export class MessageRow<Message> {
  private readonly listener: RowListener<Message>
  private row: Waiting<Message>[] = []
  /** Of the first that was not taken yet. */
  private start = 0
  private held = false
  private closed = false

  constructor(listener: RowListener<Message>) {
    this.listener = listener
  }

  receive(message: Message, bytes: number): void {
    if (this.closed) return
    if (!this.held) return this.listener.take(message)
    this.row.push({ message, bytes })
    this.listener.waiting(bytes)
  }

  /** What comes until `work` has settled waits. `work` must not reject, and not begin while another is under way. */
  async hold(work: () => Promise<void>): Promise<void> {
    this.held = true
    await work()
    this.held = false
    while (this.start < this.row.length && !this.held && !this.closed) {
      const { message, bytes } = this.row[this.start++]!
      this.listener.waiting(-bytes)
      this.listener.take(message)
    }
    if (this.start * 2 < this.row.length) return
    this.row.splice(0, this.start)
    this.start = 0
  }

  close(): void {
    this.closed = true
    for (const { bytes } of this.row.slice(this.start)) this.listener.waiting(-bytes)
    this.row = []
    this.start = 0
  }
}
