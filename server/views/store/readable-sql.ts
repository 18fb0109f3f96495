/**
 * Whether a token may read a document, in SQL: the same answer as server/access/readable.ts and pattern.ts, of settings that
 * hold for one transaction.
 *
 *   tidemark.readable_all        'true': every document
 *   tidemark.readable_ids        text[]: ids, and beginnings of a few segments, which end with a slash
 *   tidemark.readable_prefixes   text[]: longer beginnings
 *   tidemark.readable_patterns   text[]: segments between slashes, each `**` or for LIKE
 *   tidemark.readable_starts     text[]: of each pattern what is before its first asterisk, which is asked first
 *
 * Each setting is read once for a query (a subquery on its own is an InitPlan), not for each row; ids are a hash, in which
 * a thousand cost what one does (100,000 rows in 0.1 s; compared one by one 30 s). What is not set is null, and nothing is
 * readable then. Nothing here is a regular expression: PostgreSQL keeps 32 compiled ones, and a token may have a thousand
 * patterns.
 */
import { depthMax } from '../../access/readable.ts'

export const readableSettings = {
  all: 'tidemark.readable_all',
  ids: 'tidemark.readable_ids',
  prefixes: 'tidemark.readable_prefixes',
  patterns: 'tidemark.readable_patterns',
  starts: 'tidemark.readable_starts',
} as const

/** Goes back to the last `**` only, as pattern.ts does. LIKE's own steps are at most text × pattern. */
export const matchesSql = `
  create function tidemark.matches(document text, pattern text) returns boolean
  language plpgsql immutable parallel safe as $tidemark$
  declare
    segments text[] := string_to_array(document, '/');
    parts text[] := string_to_array(pattern, '/');
    segment int := 1;
    part int := 1;
    retry_segment int;
    retry_part int;
  begin
    while segment <= cardinality(segments) loop
      if part <= cardinality(parts) and parts[part] = '**' then
        part := part + 1;
        retry_part := part;
        retry_segment := segment;
      elsif part <= cardinality(parts) and segments[segment] like parts[part] then
        part := part + 1;
        segment := segment + 1;
      elsif retry_part is not null then
        part := retry_part;
        retry_segment := retry_segment + 1;
        segment := retry_segment;
      else
        return false;
      end if;
    end loop;
    while part <= cardinality(parts) loop
      if parts[part] <> '**' then return false; end if;
      part := part + 1;
    end loop;
    return true;
  end $tidemark$;`

/** Whether the row's `document` (an expression) is readable. */
export function readableCondition(document: string): string {
  const setting = (name: string): string => `pg_catalog.current_setting('${name}', true)`
  const ids = `select pg_catalog.unnest(${setting(readableSettings.ids)}::text[])`
  return `(select ${setting(readableSettings.all)} = 'true')
    or ${[document, ...beginnings(document)].map((text) => `${text} in (${ids})`).join('\n    or ')}
    or ${document} ^@ any ((select ${setting(readableSettings.prefixes)}::text[])::text[])
    or ((select ${setting(readableSettings.patterns)} <> '{}') and exists (
      select from unnest(
        (select ${setting(readableSettings.starts)}::text[]), (select ${setting(readableSettings.patterns)}::text[])
      ) as wider (start, pattern)
      where ${document} ^@ start and tidemark.matches(${document}, pattern)))`
}

/** Its first segments with a slash behind each: one, two, and so on. */
function beginnings(document: string): string[] {
  const segments = Array.from(
    { length: depthMax },
    (_, i) => `pg_catalog.split_part(${document}, '/', ${i + 1}) || '/'`,
  )
  return segments.map((_, i) => `(${segments.slice(0, i + 1).join(' || ')})`)
}
