/** An adapter that is defined wrongly, or gave what is no row. The message is for its author. */
export class AdapterError extends Error {
  readonly adapter: string
  constructor(adapter: string, message: string, options?: ErrorOptions) {
    super(`Adapter ${adapter === '' ? 'without a name' : `"${adapter}"`}: ${message}`, options)
    this.name = 'AdapterError'
    this.adapter = adapter
  }
}
