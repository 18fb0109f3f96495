/**
 * Somebody with a copy of a document of facts, against a real relay: works without a connection until it has one, and comes back
 * after each cut. What is written goes out at once, right or wrong.
 */
import * as Y from 'yjs'
import { type Domain, openDomain } from '../../client/domain/domain.ts'
import { factsRoot } from '../../core/domain/facts/fact.ts'
import type { FieldsOfDocument } from '../../core/domain/fold/fields.ts'
import { RawClient } from './raw-client.ts'
import { token } from './tokens.ts'
import { until } from './wait.ts'

export interface FactPersonOptions<Of extends FieldsOfDocument> {
  /** Asked at each connection: a relay that was started again has another address. */
  readonly url: () => string
  readonly document: string
  readonly fields: Of
  readonly subject: string
  readonly roles?: readonly string[]
}

export class FactPerson<Of extends FieldsOfDocument> {
  readonly doc = new Y.Doc()
  readonly domain: Domain<Of>
  readonly actor: string
  private client: RawClient | null = null
  private readonly options: FactPersonOptions<Of>

  constructor(options: FactPersonOptions<Of>) {
    this.options = options
    this.actor = options.subject.padEnd(6, '0')
    this.domain = this.as(options.roles ?? [])
    this.doc.on('update', (update: Uint8Array, _origin: unknown, _doc: Y.Doc, { local }: Y.Transaction) => {
      if (local) this.client?.sendUpdate(update)
    })
  }

  /** The same copy, for who says to have other roles than their token gives. */
  as(roles: readonly string[]): Domain<Of> {
    const { fields, subject } = this.options
    const handle = { doc: this.doc, loaded: true, on: () => () => undefined }
    return openDomain(handle, fields, { actor: this.actor, subject, roles })
  }

  /** Resolves when all that it has is there, and the other way round. */
  async connect(): Promise<this> {
    this.client?.close()
    const { url, document, subject, roles = [] } = this.options
    const mine = await token({ subject, roles })
    const client = await RawClient.connect(`${url()}/${document}?token=${mine}&echo=true`, { doc: this.doc })
    await until('synced', () => client.synced)
    this.client = client
    return this
  }

  close(): void {
    this.client?.close()
  }

  /** Resolves with the code. */
  async refused(): Promise<number | null> {
    await this.client?.closed
    return this.client?.closeCode ?? null
  }

  get facts(): Y.Map<unknown> {
    return this.doc.getMap(factsRoot)
  }
}
