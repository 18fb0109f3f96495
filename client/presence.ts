/**
 * Awareness over the connection: our own state goes out at most every `throttleMs`, and every 15 s (y-protocols renews
 * it); what others say is applied as it comes. After a reconnect our state goes out under a newer clock, since the server told
 * the others that we had gone. Others are forgotten by y-protocols' own 30 s, so that a short loss of connection
 * makes no caret flicker.
 */
import { type Awareness, applyAwarenessUpdate, encodeAwarenessUpdate } from 'y-protocols/awareness'
import type { Environment } from './environment.ts'

export const throttleMs = 50
/** With so much waiting for the network, presence waits too. */
const bufferedBytesMax = 256 * 1024

export interface PresenceWire {
  /** Does nothing when the document is not live. */
  send(awareness: Uint8Array): void
  bufferedBytes(): number
}

interface Change {
  readonly added: readonly number[]
  readonly updated: readonly number[]
  readonly removed: readonly number[]
}

export class Presence {
  readonly awareness: Awareness
  readonly #environment: Environment
  readonly #wire: PresenceWire
  #cancelTimer: (() => void) | null = null
  #changed = false

  constructor(awareness: Awareness, environment: Environment, wire: PresenceWire) {
    this.awareness = awareness
    this.#environment = environment
    this.#wire = wire
    awareness.on('update', this.#onUpdate)
  }

  /** The document is live (again). */
  live(): void {
    const state = this.awareness.getLocalState()
    if (state !== null) this.awareness.setLocalState(state)
  }

  hear(update: Uint8Array): void {
    applyAwarenessUpdate(this.awareness, update, this)
  }

  /** Tells the others that we have gone. */
  close(): void {
    this.#cancelTimer?.()
    this.awareness.setLocalState(null)
    this.#cancelTimer?.()
    this.#send()
    this.awareness.off('update', this.#onUpdate)
    this.awareness.destroy()
  }

  readonly #onUpdate = ({ added, updated, removed }: Change): void => {
    const { clientID } = this.awareness
    // Also when others said something of us: the answer is that we are here.
    if (![...added, ...updated, ...removed].includes(clientID)) return
    this.#changed = true
    if (this.#cancelTimer !== null) return
    this.#send()
    this.#wait()
  }

  #wait(): void {
    this.#cancelTimer = this.#environment.after(throttleMs, () => {
      this.#cancelTimer = null
      if (!this.#changed) return
      this.#send()
      this.#wait()
    })
  }

  #send(): void {
    if (!this.#changed || this.#wire.bufferedBytes() > bufferedBytesMax) return
    const { awareness } = this
    if (!awareness.meta.has(awareness.clientID)) return
    // What is not sent because the document is not live is sent by `live`.
    this.#wire.send(encodeAwarenessUpdate(awareness, [awareness.clientID]))
    this.#changed = false
  }
}
