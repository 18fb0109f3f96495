/**
 * The WebSocket of Node before 22, which has none. Loaded only there, and nothing of Node is imported: `ws` is asked for by a name
 * that no bundler follows.
 */
import { TidemarkError } from '../core/protocol/error-codes.ts'
import type { WebSocketClass } from './environment.ts'

export async function nodeSocket(): Promise<WebSocketClass> {
  const name = 'ws'
  try {
    const { WebSocket } = (await import(/* @vite-ignore */ /* webpackIgnore: true */ name)) as {
      WebSocket: WebSocketClass
    }
    return WebSocket
  } catch (error) {
    throw new TidemarkError('invalid_request', 'No WebSocket: pass `webSocket`', {
      cause: error,
    })
  }
}
