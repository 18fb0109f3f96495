/**
 * What the questions about views project: entries of a map, one row each. Raw limits use the same tables.
 *
 * Two things are there to be measured, and cost every contestant the same. A row knows its transaction; and `commits` has
 * when each transaction began to commit, by a trigger that is deferred to that moment, since PGlite has nobody who could
 * hear of it from outside. On PostgreSQL the transaction's number is also sent to who listens: they get it when the rows can
 * be read.
 *
 * `commits` is made behind the back of `defineAdapter`, for nothing fills it but the trigger. Names are put together where they
 * are used: a schema that is built anew is renamed.
 */
import { type Adapter, defineAdapter } from '../../core/domain/index.ts'

export const mapName = 'entries'
export const schemaName = 'bench'
export const commitsChannel = 'bench_commits'

export const stampedSql = `
create table entries (
  document text,
  entry text,
  text text not null,
  done boolean not null,
  sent double precision not null,
  transaction bigint not null default txid_current(),
  primary key (document, entry)
);
do $make$ begin
  execute 'create table commits (document text primary key, at timestamptz)';
end $make$;
create function note() returns trigger language plpgsql as $note$ begin
  execute format('insert into %I.commits values (txid_current()::text) on conflict do nothing', tg_table_schema);
  perform pg_notify('${commitsChannel}', txid_current()::text);
  return null;
end $note$;
create function stamp() returns trigger language plpgsql as $stamp$ begin
  execute format('update %I.commits set at = clock_timestamp() where document = $1', tg_table_schema) using new.document;
  return null;
end $stamp$;
create trigger note after insert on entries for each statement execute function note();
create constraint trigger stamp after insert on commits deferrable initially deferred
  for each row execute function stamp();
`

/** The same rows without all that, for a table that is built anew: what differs each time cannot be compared. */
export const plainSql = `
create table entries (
  document text,
  entry text,
  text text not null,
  done boolean not null,
  sent double precision not null,
  primary key (document, entry)
);
`

interface Tables {
  entries: { text: string; done: boolean; sent: number }
}

export function entriesAdapter(version: number, sql: string): Adapter {
  return defineAdapter<Tables>({
    name: schemaName,
    version,
    documents: 'bench/:id',
    sql,
    entries: {
      entries: {
        map: mapName,
        rows(_key, value) {
          const { text, done, sent } = value as { text: string; done: boolean; sent: number }
          return [{ text, done, sent }]
        },
      },
    },
  })
}
