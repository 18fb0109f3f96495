/**
 * The embedded database for psql and friends: PostgreSQL's protocol on a port of 127.0.0.1, in the thread where PGlite computes.
 *
 * - Whoever can connect reads all views: there is no password, the address of this machine is the fence. Writing is refused.
 * - Clients take turns (turns.ts), a statement or a transaction each. A query cannot be interrupted, and everything waits for
 *   it: a batch of the projector that waits too long restarts PGlite, and clients connect anew.
 *
 * Rejected: @electric-sql/pglite-socket, which wants seven extensions of PostgreSQL installed beside it, gives its clients the
 * superuser, and lets a client with an open transaction wait for ever.
 */
import { createServer, type Server, type Socket } from 'node:net'
import type { PGlite } from '@electric-sql/pglite'
import { refusalOf } from './fence.ts'
import {
  errorMessage,
  type Frame,
  FrameReader,
  greeting,
  marked,
  message,
  noEncryption,
  sqlOf,
  stateAfter,
  withSql,
} from './frames.ts'
import { type Settings, Turns } from './turns.ts'

export interface PortLimits {
  readonly clientsMax: number
  readonly messageBytesMax: number
  /** Of messages that wait for their sync. */
  readonly waitingBytesMax: number
  /** To say who it is. */
  readonly startupMsMax: number
  /** In a transaction, between two messages. */
  readonly idleMsMax: number
}

export const portLimits: PortLimits = {
  clientsMax: 20,
  messageBytesMax: 1024 * 1024,
  waitingBytesMax: 16 * 1024 * 1024,
  startupMsMax: 10_000,
  idleMsMax: 5_000,
}

/** After these the server answers, and the client waits for it. */
const ends = new Set(['Q', 'S', 'H', 'F'])

export class ViewsPort {
  private readonly turns: Turns
  private readonly limits: PortLimits
  private readonly server: Server
  private readonly clients = new Set<Client>()
  private count = 0

  constructor(database: PGlite, limits: PortLimits = portLimits) {
    this.turns = new Turns(database)
    this.limits = limits
    this.server = createServer((socket) => this.accept(socket))
  }

  /** Rejects when the port is somebody else's. */
  async listen(port: number): Promise<void> {
    await this.turns.prepare()
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject)
      this.server.listen(port, '127.0.0.1', () => {
        this.server.off('error', reject)
        resolve()
      })
    })
  }

  async close(): Promise<void> {
    this.server.close()
    for (const client of this.clients) client.end('57P01', 'The views are closed')
    await Promise.all([...this.clients].map((client) => client.ended))
  }

  private accept(socket: Socket): void {
    if (this.clients.size >= this.limits.clientsMax) {
      socket.on('error', () => undefined) // It is gone either way.
      socket.end(errorMessage('FATAL', '53300', 'Too many clients'))
      return
    }
    const client = new Client(socket, this.turns, this.limits, `c${this.count++}_`)
    this.clients.add(client)
    void client.ended.then(() => this.clients.delete(client))
  }
}

class Client {
  /** Never rejects. */
  readonly ended: Promise<void>
  private readonly socket: Socket
  private readonly turns: Turns
  private readonly limits: PortLimits
  private readonly mark: string
  private readonly reader: FrameReader
  private settings: Settings = {}
  /** Prepared under a name, and not closed. */
  private readonly statements = new Set<string>()
  private onData: (() => void) | null = null
  private isGone = false

  constructor(socket: Socket, turns: Turns, limits: PortLimits, mark: string) {
    this.socket = socket
    this.turns = turns
    this.limits = limits
    this.mark = mark
    this.reader = new FrameReader(limits.messageBytesMax)
    socket.setNoDelay(true)
    socket.on('data', (chunk) => {
      this.reader.push(chunk)
      socket.pause()
      this.onData?.()
    })
    const gone = (): void => {
      this.isGone = true
      this.onData?.()
    }
    socket.on('error', gone)
    socket.on('close', gone)
    this.ended = this.serve()
      .catch((error: unknown) => this.end('08P01', error instanceof Error ? error.message : String(error)))
      .then(() => this.forget())
      .catch(() => undefined) // PGlite ends, and its session with it.
  }

  end(code: string, reason: string): void {
    this.isGone = true
    this.socket.end(errorMessage('FATAL', code, reason), () => this.socket.destroy())
    this.onData?.()
  }

  private async serve(): Promise<void> {
    if (!(await this.greet())) return
    for (;;) {
      const first = await this.until(null)
      if (first === null) return
      this.settings = await this.turns.take(this.settings, (send) => this.turn(first, send))
    }
  }

  /** False when that was all. */
  private async greet(): Promise<boolean> {
    for (;;) {
      const startup = await this.read(() => this.reader.startup(), this.limits.startupMsMax)
      if (startup === 'encryption') this.socket.write(noEncryption)
      else if (startup === 'version 3') break
      else {
        if (startup === 'unknown') this.end('0A000', 'Only version 3 of the protocol is spoken here')
        else this.socket.destroy()
        return false
      }
    }
    this.socket.write(greeting(await this.turns.parameters()))
    return true
  }

  /** Answers `first`, and what follows as long as a transaction is open. */
  private async turn(first: Buffer, send: (messages: Uint8Array) => Promise<Uint8Array>): Promise<void> {
    for (let messages: Buffer | null = first; messages !== null; ) {
      const answer = await send(messages)
      if (this.isGone) return
      const hasRoom = this.socket.write(answer)
      if (!hasRoom) await this.drained()
      // After a flush it is unknown, and the client goes on.
      if (stateAfter(answer) === 'I') return
      messages = await this.until(this.limits.idleMsMax)
    }
  }

  /** Messages up to one that is to be answered. Null when the client has gone, or said nothing for so long. */
  private async until(idleMsMax: number | null): Promise<Buffer | null> {
    const messages: Buffer[] = []
    let bytes = 0
    for (;;) {
      const frame = await this.read(
        () => this.reader.frame(),
        messages.length > 0 ? this.limits.idleMsMax : idleMsMax,
      )
      if (frame === null || frame.type === 'X') {
        this.socket.end()
        this.isGone = true
        return null
      }
      const passed = await this.passed(frame)
      bytes += passed.length
      if (bytes > this.limits.waitingBytesMax) throw new Error('too much without a sync')
      messages.push(passed)
      if (ends.has(frame.type)) return Buffer.concat(messages)
    }
  }

  /** The message as the session gets it: refused SQL becomes what raises the reason, so that all states are the server's. */
  private async passed(frame: Frame): Promise<Buffer> {
    if (frame.type === 'F') return message('Q', raising('functions are called in SQL only'))
    if (frame.type !== 'Q' && frame.type !== 'P') return this.named(frame)
    const refusal = await refusalOf(sqlOf(frame))
    if (refusal === null) return this.named(frame)
    const bytes = withSql(frame, raising(refusal))
    return this.named({ type: frame.type, bytes })
  }

  private named(frame: Frame): Buffer {
    const { bytes, statement } = marked(frame, this.mark)
    if (statement !== null && frame.type === 'P') this.statements.add(statement)
    if (statement !== null && frame.type === 'C') this.statements.delete(statement)
    return bytes
  }

  /** Null when the client has gone, or said nothing for so long: then it is told, and cut off. */
  private async read<T>(take: () => T | null, msMax: number | null): Promise<T | null> {
    for (;;) {
      const taken = take()
      if (taken !== null) return taken
      if (this.isGone) return null
      const late =
        msMax === null
          ? undefined
          : setTimeout(() => this.end('25P03', 'Nothing was said for too long'), msMax)
      await new Promise<void>((done) => {
        this.onData = done
        this.socket.resume()
      })
      this.onData = null
      clearTimeout(late)
    }
  }

  private async drained(): Promise<void> {
    const late = setTimeout(() => this.socket.destroy(), this.limits.idleMsMax)
    await new Promise<void>((done) => {
      this.socket.once('drain', done)
      this.socket.once('close', done)
    })
    clearTimeout(late)
  }

  /** What it prepared is nobody's any more. */
  private async forget(): Promise<void> {
    if (this.statements.size === 0) return
    const closing = [...this.statements].map((statement) => message('C', Buffer.from('S'), statement))
    await this.turns.take({}, async (send) => {
      await send(Buffer.concat([...closing, message('S')]))
    })
  }
}

const raising = (reason: string): string =>
  `do $tidemark$ begin raise exception using errcode = '42501', message = '${reason.replaceAll("'", "''")}'; end $tidemark$`
