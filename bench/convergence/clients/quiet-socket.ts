import WebSocket from 'ws'

/** Providers that are destroyed listen to their socket no more, and it may still have an error to tell. */
export class QuietSocket extends WebSocket {
  constructor(...given: ConstructorParameters<typeof WebSocket>) {
    super(...given)
    this.on('error', () => undefined)
  }
}
