/**
 * One session for many clients and the projector: a client has it for a turn, from its first message to where its transaction
 * ends, and finds it as it left it.
 *
 *   take the session ─▶ the port's role, read only, live schemas, the client's own settings
 *        ─▶ messages up to a sync, the answer … until no transaction is open
 *        ─▶ note the client's settings, put everything back ─▶ the next one
 *
 * Who holds a transaction open and says nothing for `idleMsMax` is cut off, and rolled back: the projector waits meanwhile.
 */
import type { PGlite } from '@electric-sql/pglite'
import { protocol } from '@electric-sql/pglite'
import { quoted } from '../sql/sql.ts'

export const portRole = 'tidemark_port'

/** Before the first turn, and idempotent. The role reads everything, and owns and may nothing else. */
const roleSql = `do $$ begin
  if not exists (select from pg_roles where rolname = '${portRole}') then
    create role ${portRole} nologin bypassrls;
    grant pg_read_all_data to ${portRole};
  end if;
end $$`

/** Settings of the session that are the client's. */
const settingsSql = `select coalesce(json_object_agg(name, setting), '{}') from pg_settings
  where source = 'session' and name not in ('search_path', 'default_transaction_read_only', 'transaction_read_only')
    and context = 'user'`
const restoreSql = 'rollback; reset all; reset role'
const schemasSql = 'select schema from tidemark.adapters where schema = name order by schema'

export type Settings = Readonly<Record<string, string>>

type Session = Pick<PGlite, 'execProtocol' | 'execProtocolRaw' | 'runExclusive'>

export class Turns {
  private readonly session: Session

  constructor(session: Session) {
    this.session = session
  }

  async prepare(): Promise<void> {
    await this.session.runExclusive(() => this.run(roleSql))
  }

  /** What a client is told of the server when it connects. */
  async parameters(): Promise<Settings> {
    const rows = await this.session.runExclusive(() =>
      this.run('show server_version; show datestyle; show timezone'),
    )
    const [version, dateStyle, timeZone] = rows.map(([value]) => value ?? '')
    return {
      server_version: version ?? '',
      server_encoding: 'UTF8',
      client_encoding: 'UTF8',
      DateStyle: dateStyle ?? '',
      TimeZone: timeZone ?? '',
      integer_datetimes: 'on',
      standard_conforming_strings: 'on',
      default_transaction_read_only: 'on',
      is_superuser: 'off',
    }
  }

  /** Gives `work` the session, as a client with these settings has it. Resolves with those that it has in the end. */
  async take(
    settings: Settings,
    work: (send: (messages: Uint8Array) => Promise<Uint8Array>) => Promise<void>,
  ): Promise<Settings> {
    return this.session.runExclusive(async () => {
      try {
        // Not there before the first adapter has been placed.
        const schemas = await this.run(schemasSql).catch(() => [])
        const path = [...schemas.map(([schema]) => quoted(schema ?? '')), 'public'].join(', ')
        await this.run(
          `set search_path = ${path}; set default_transaction_read_only = on; set role ${portRole}`,
        )
        for (const [name, value] of Object.entries(settings))
          await this.run(`select set_config('${escaped(name)}', '${escaped(value)}', false)`)
        await work((messages) => this.session.execProtocolRaw(messages))
        const [row] = await this.run(settingsSql)
        return JSON.parse(row?.[0] ?? '{}') as Settings
      } finally {
        await this.run(restoreSql)
      }
    })
  }

  /** Simple queries. Rows of all of them. */
  private async run(sql: string): Promise<(string | null)[][]> {
    const { messages } = await this.session.execProtocol(protocol.serialize.query(sql), {
      throwOnError: true,
    })
    return messages.flatMap((message) =>
      message.name === 'dataRow' ? [(message as unknown as { fields: (string | null)[] }).fields] : [],
    )
  }
}

const escaped = (text: string): string => text.replaceAll("'", "''")
