/**
 * The documents of the editor at `/` as rows: notes with their text, their headings, tasks and links, and an index for
 * searching. `npm start` loads it from here; docs/views.md explains adapters by it.
 *
 *   select title, words from notes where search @@ to_tsquery('simple', 'tide:*')
 *   select document, text from tasks where not done
 *
 * - Words are indexed as they are ('simple'): notes are written in any language, and a dictionary of one spoils the others.
 *   Ask for beginnings of words (`tide:*`) where a dictionary would find their forms.
 * - What is indexed has an end, since PostgreSQL refuses an index entry of more than 1 MB, and with it the row: the title and
 *   as much text as has about the 16,383 word positions that an entry keeps anyway. `text` has all of it.
 */
import { defineAdapter, headings, links, plainText, tasks, wordCount } from 'tidemark/adapter'

interface Tables {
  notes: { title: string; text: string; words: number }
  headings: { position: number; level: number; text: string }
  tasks: { position: number; depth: number; text: string; done: boolean }
  links: { position: number; href: string; text: string }
}

export const notes = defineAdapter<Tables>({
  name: 'notes',
  version: 1,
  documents: 'notes/:id',
  sql: `
    create table notes (
      document text primary key,
      title text not null,
      text text not null,
      words integer not null,
      search tsvector not null generated always as (
        setweight(to_tsvector('simple', left(title, 1000)), 'A') ||
        setweight(to_tsvector('simple', left(text, 100000)), 'D')
      ) stored
    );
    create index on notes using gin (search);

    create table headings (
      document text,
      position integer,
      level integer not null,
      text text not null,
      primary key (document, position)
    );

    create table tasks (
      document text,
      position integer,
      depth integer not null,
      text text not null,
      done boolean not null,
      primary key (document, position)
    );
    create index on tasks (document, position) where not done;

    create table links (
      document text,
      position integer,
      href text not null,
      text text not null,
      primary key (document, position)
    );
  `,
  document(state) {
    const body = state.tree('body')
    const text = plainText(body)
    const title = titleOf(state.text('title').toString(), text)
    return {
      notes: [{ title, text, words: wordCount(body) }],
      headings: headings(body).map(({ level, text }, position) => ({
        position,
        level: levelOf(level),
        text,
      })),
      tasks: tasks(body).map(({ text, checked, depth }, position) => ({
        position,
        depth,
        text,
        done: checked,
      })),
      links: links(body).map((link, position) => ({ position, ...link })),
    }
  },
})

/** What to call it: its title, else how it begins. */
function titleOf(title: string, text: string): string {
  return title.trim() || text.slice(0, 1000).split('\n', 1)[0]!.slice(0, 80).trim()
}

/** 1 to 6. What a client wrote there may be any number. */
function levelOf(written: number): number {
  return Math.min(6, Math.max(1, Math.trunc(written)))
}
