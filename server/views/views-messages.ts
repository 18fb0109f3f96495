/** What the relay's thread and that of the views say to each other, beside calls of the log (log-port.ts). */
export interface ViewsSettings {
  /** Of adapters; there are none when it is not there. */
  readonly folder: string
  /** Null: PGlite in `dataFolder`. */
  readonly databaseUrl: string | null
  /** Null: several nodes share the log, so there has to be a `databaseUrl`. */
  readonly dataFolder: string | null
  readonly connectionsMax: number
}

export type FromRelay =
  /** A document changed. */
  { readonly kind: 'wake' } | { readonly kind: 'close' }

export type FromViews =
  /** Adapters are loaded: none, or those that are projected from now on. */
  | { readonly kind: 'ready'; readonly adapters: readonly string[] }
  /** An adapter is broken: the relay does not start. */
  | { readonly kind: 'broken'; readonly message: string }
  | {
      readonly kind: 'log'
      readonly level: 'error' | 'warn' | 'info' | 'debug'
      readonly fields: object
      readonly message: string
    }
  | { readonly kind: 'figures'; readonly figures: ViewsFigures }

export interface ViewsFigures {
  /** Documents that wait to be projected, or are being projected. */
  readonly pending: number
  /** Documents whose rows were brought up to date, for each adapter and change, since the tables were last looked at. */
  readonly projected: number
  /** Documents that could not be projected, likewise. */
  readonly dead: number
  /** The database cannot be reached. */
  readonly unavailable: boolean
}
