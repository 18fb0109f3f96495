/** A relay with an adapter that a test writes, in a folder of its own, and what a test asks of it. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as Y from 'yjs'
import type { AdapterStatus, Letters } from '../../../server/views/operations.ts'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { until } from '../../support/wait.ts'

export class NotesRelay {
  readonly folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  private readonly settings: Record<string, string>
  private running: RelayProcess | null = null

  constructor(settings: Record<string, string>) {
    this.settings = settings
    mkdirSync(join(this.folder, 'adapters'))
  }

  /** `body`: of the function that makes the rows of an entry from `key`, `value` and `context`. */
  adapter(body = 'return [{ value: String(value) }]', version = 1, name = 'notes'): void {
    writeFileSync(
      join(this.folder, 'adapters', `${name}.ts`),
      `import { defineAdapter } from 'tidemark/adapter'
export default defineAdapter({
  name: '${name}',
  version: ${version},
  documents: '${name}/:id',
  sql: \`create table ${name} (document text primary key, facts int not null, size int generated always as (facts * 2) stored);
    create table ${name}_facts (document text, entry text, value text not null, primary key (document, entry));
    create index on ${name}_facts (value);\`,
  document: (state: any) => ({ ${name}: [{ facts: state.map('facts').keys().length }] }),
  entries: { ${name}_facts: { map: 'facts', rows(key: string, value: any, context: any) { ${body} } } },
} as any)
`,
    )
  }

  get relay(): RelayProcess {
    if (this.running === null) throw new Error('the relay does not run')
    return this.running
  }

  async start(settings: Record<string, string> = {}): Promise<RelayProcess> {
    this.running = await startRelay({
      DATA_DIR: join(this.folder, 'data'),
      ADAPTERS: join(this.folder, 'adapters'),
      ...this.settings,
      ...settings,
    })
    return this.running
  }

  async kill9(): Promise<void> {
    await this.running?.kill9()
    this.running = null
  }

  async stop(): Promise<void> {
    await this.running?.stop()
    this.running = null
    rmSync(this.folder, { recursive: true })
  }

  /** Appends what `change` does to the document. */
  async write(document: string, change: (facts: Y.Map<unknown>) => void, doc = new Y.Doc()): Promise<void> {
    const version = Y.encodeStateVector(doc)
    doc.transact(() => change(doc.getMap('facts')))
    const response = await fetch(`${this.relay.url}/v1/documents/${encodeURIComponent(document)}/updates`, {
      method: 'POST',
      headers: { 'content-type': 'application/octet-stream' },
      body: Buffer.from(Y.encodeStateAsUpdate(doc, version)),
    })
    if (!response.ok) throw new Error(`${document}: ${response.status} ${await response.text()}`)
  }

  async ask<T>(path: string, method = 'GET', body?: object): Promise<{ status: number; body: T }> {
    const response = await fetch(`${this.relay.url}/v1/views${path}`, {
      method,
      ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    })
    return { status: response.status, body: (await response.json()) as T }
  }

  async adapterStatus(name = 'notes'): Promise<AdapterStatus | undefined> {
    const { body } = await this.ask<{ adapters?: AdapterStatus[] }>('')
    return body.adapters?.find((adapter) => adapter.name === name)
  }

  async letters(): Promise<Letters['letters']> {
    return (await this.ask<Letters>('/dead-letters')).body.letters
  }

  /** Rebuilds, and waits for the swap. */
  async rebuilt(begin = true): Promise<NonNullable<AdapterStatus['lastRebuild']>> {
    const before = (await this.adapterStatus())?.lastRebuild?.ended
    if (begin) await this.ask('/notes/rebuild', 'POST')
    let ended: AdapterStatus['lastRebuild'] = null
    await until('the swap', async () => {
      ended = (await this.adapterStatus())?.lastRebuild ?? null
      return ended !== null && ended.ended !== before
    })
    return ended!
  }
}
