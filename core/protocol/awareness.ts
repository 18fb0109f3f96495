/**
 * Awareness updates (presence): who is here, with an opaque JSON state each.
 *
 *   awareness update = varUint n, then n × (varUint client, varUint clock, varString JSON | "null")
 *
 * States stay bytes: the server reads client and clock, and checks by a scan that the state is
 * well-formed JSON (a client that parses a broken one throws in its message handler, so a broken
 * one must not be relayed); it never builds the value. "null" means: this client is gone.
 * Source: y-protocols 1.0, awareness.js.
 */
import { ByteReader, ByteWriter, MalformedBytes } from '../bytes.ts'
import { TidemarkError } from './errors.ts'
import { isJson } from './json-scan.ts'

export interface AwarenessState {
  readonly client: number
  readonly clock: number
  /** UTF-8 JSON, or `null` when the client is gone. */
  readonly state: Uint8Array | null
}

export interface AwarenessLimits {
  /** Of one update, all states together. */
  readonly awarenessBytesMax: number
  /** States in one update. */
  readonly awarenessClientsMax: number
}

const nullState = new TextEncoder().encode('null')

/** States are views of `bytes`, not yet checked as JSON (see `checkState`). Throws `malformed_awareness`. */
export function decodeAwareness(bytes: Uint8Array, limits: AwarenessLimits): AwarenessState[] {
  if (bytes.length > limits.awarenessBytesMax) {
    throw new TidemarkError(
      'malformed_awareness',
      `Awareness of ${bytes.length} bytes exceeds ${limits.awarenessBytesMax}`,
    )
  }
  try {
    const reader = new ByteReader(bytes)
    const count = reader.varUint()
    if (count > limits.awarenessClientsMax) {
      throw new MalformedBytes(`${count} states exceed ${limits.awarenessClientsMax}`)
    }
    const states: AwarenessState[] = []
    for (let i = 0; i < count; i++) {
      const client = reader.varUint()
      const clock = reader.varUint()
      const state = reader.varBytes()
      states.push({ client, clock, state: isNull(state) ? null : state })
    }
    if (reader.remaining > 0) throw new MalformedBytes('trailing bytes')
    return states
  } catch (error) {
    if (!(error instanceof MalformedBytes)) throw error
    throw new TidemarkError('malformed_awareness', `Malformed awareness: ${error.message}`)
  }
}

/** Refuses a state that a client could not parse. */
export function checkState(state: AwarenessState): void {
  if (state.state !== null && !isJson(state.state)) {
    throw new TidemarkError('malformed_awareness', `The state of client ${state.client} is not JSON`)
  }
}

export function encodeAwareness(states: readonly AwarenessState[]): Uint8Array {
  const writer = new ByteWriter(16 + states.length * 64)
  writer.varUint(states.length)
  for (const { client, clock, state } of states)
    writer
      .varUint(client)
      .varUint(clock)
      .varBytes(state ?? nullState)
  return writer.finish()
}

function isNull(state: Uint8Array): boolean {
  return state.length === 4 && state.every((byte, i) => byte === nullState[i])
}
