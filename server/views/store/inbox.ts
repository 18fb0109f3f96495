/**
 * What waits, of all adapters with fields together, as two views that queries may name: `tidemark.conflicts` and `tidemark.intents`.
 *
 * - Who reads them reads the adapters' own tables, with its own rights: policies hold, a table that it may not read has no rows here,
 *   and a column that it may not read is null. So they are made of functions that run as whoever asks. A view over all tables would be
 *   refused as a whole for one of them, and would go with each schema that is dropped or swapped in.
 * - Which adapters there are is looked up when somebody asks: tables that come, go or are swapped need nothing else.
 *
 * And whether another document is there, for references (`deals_parked`): known by what was projected of any adapter. Who may not
 * read it gets null, as with every other question about it.
 */
import { readableCondition } from './readable-sql.ts'

/** What queries may name of the schema `tidemark`, by what their rows are made of: tables that end so. */
export const inboxTables: ReadonlyMap<string, string> = new Map([
  ['conflicts', '_conflicts'],
  ['intents', '_facts'],
])

/** Of one intent, the latest. */
const dependenciesMax = 16

/** Tables of fields that an earlier release made get the columns that rows have now. */
export const adoptSql = `
  do $tidemark$ declare made record; begin
    for made in
      select n.nspname, c.relname, c.relname like '%\\_facts' as is_facts
      from tidemark.adapters a join pg_namespace n on n.nspname = a.schema
        join pg_class c on c.relnamespace = n.oid and c.relkind = 'r' and c.relname in (a.name || '_facts', a.name || '_conflicts')
      where (select count(*) from pg_attribute t where t.attrelid = c.oid and not t.attisdropped
        and t.attname in ('document', 'entry', 'entity', 'field', 'decided_by', 'place', 'sides')) >= 5
    loop
      if made.is_facts then
        execute format('alter table %I.%I add column if not exists holder text, add column if not exists roles text[]',
          made.nspname, made.relname);
      else
        execute format('alter table %I.%I add column if not exists since timestamptz,
          add column if not exists roles text[] not null default ''{}''', made.nspname, made.relname);
      end if;
    end loop;
  end $tidemark$;`

/** A step of the schema's format. */
export const inboxSql = `
  alter table tidemark.progress add column gone boolean not null default false;
  create index on tidemark.progress (document) where not gone;

  create function tidemark.is_there(target text) returns boolean
  language sql stable security definer set search_path = pg_catalog, pg_temp as $tidemark$
    select case when nullif(current_setting('tidemark.readable_all', true), '') is null or ${readableCondition('target')}
      then exists (select from tidemark.progress p where p.document = target and not p.gone) end
  $tidemark$;

  create function tidemark.served() returns setof text
  language sql stable security definer set search_path = pg_catalog, pg_temp as $tidemark$
    select schema from tidemark.adapters where schema = name order by schema
  $tidemark$;

  create function tidemark.list_of(schema_name text, table_name text, needed text[], wanted text[], types text[]) returns text
  language plpgsql stable as $tidemark$ begin
    return (select case when bool_and(w.may or w.n > cardinality(needed)) then
        string_agg(case when w.may then format('t.%I::%s', w.name, w.type) else format('null::%s', w.type) end, ', ' order by w.n) end
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      cross join lateral (
        select w.name, w.type, w.n, coalesce(has_column_privilege(c.oid, a.attnum, 'select'), false) as may
        from unnest(needed || wanted, types) with ordinality w(name, type, n)
          left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attname = w.name and a.attnum > 0 and not a.attisdropped
      ) w
    where n.nspname = schema_name and c.relname = table_name and c.relkind = 'r' and has_schema_privilege(n.oid, 'usage'));
  end $tidemark$;

  create function tidemark.conflict_rows() returns table (
    document text, adapter text, entity text, field text, sides jsonb, since timestamptz, roles text[])
  language plpgsql stable rows 100 as $tidemark$
  declare
    served text;
    list text;
  begin
    for served in select tidemark.served() loop
      list := tidemark.list_of(served, served || '_conflicts', '{document,entity,field}', '{sides,since,roles}',
        '{text,text,text,jsonb,timestamptz,text[]}');
      if list is not null then
        return query execute format($query$
          select c.document, %L::text, c.entity, c.field, c.sides, c.since, coalesce(c.roles, '{}')
          from (select %s from %I.%I t) c(document, entity, field, sides, since, roles)$query$,
          served, list, served, served || '_conflicts');
      end if;
    end loop;
  end $tidemark$;

  create function tidemark.intent_rows() returns table (
    document text, adapter text, fact text, entity text, field text, operation text, payload jsonb, actor text, subject text,
    waits_for text, holder text, depends_on text[], roles text[])
  language plpgsql stable rows 100 as $tidemark$
  declare
    served text;
    list text;
  begin
    for served in select tidemark.served() loop
      list := tidemark.list_of(served, served || '_facts', '{document,entry,entity,field,operation,status,reason,place}',
        '{payload,actor,subject,holder,roles}', '{text,text,text,text,text,text,text,int8,jsonb,text,text,text,text[]}');
      if list is not null then
        return query execute format($query$
          select f.document, %1$L::text, f.entry, f.entity, f.field, f.operation, f.payload, f.actor, f.subject,
            case when f.reason is null then 'server' when f.reason = 'proposal' then 'holder' else 'fact' end,
            f.holder,
            case when f.reason = 'proposal' then '{}' else coalesce(array_agg(f.entry) over before, '{}') end,
            coalesce(f.roles, '{}')
          from (select %2$s from %3$I.%4$I t where t.status = 'pending')
            f(document, entry, entity, field, operation, status, reason, place, payload, actor, subject, holder, roles)
          window before as (
            partition by f.document, f.entity, coalesce(f.reason, '') = 'proposal' order by f.place desc, f.entry collate "C" desc
            rows between 1 following and ${dependenciesMax} following)$query$,
          served, list, served, served || '_facts');
      end if;
    end loop;
  end $tidemark$;

  create view tidemark.conflicts as select * from tidemark.conflict_rows();
  create view tidemark.intents as select * from tidemark.intent_rows();
  ${adoptSql}`
