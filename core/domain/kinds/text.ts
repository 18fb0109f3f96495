/**
 * A text that people edit together, letter by letter, with an editor's binding for the engine: no facts, but a root of the document
 * beside them, whose name says which entity and field it is of.
 *
 *   text:notes           the document's own field "notes"
 *   text:lines/7/notes   of the entity lines/7
 *
 * An entity is there by its facts; a text alone does not make one.
 */
import type { Kind } from '../fold/kind.ts'

const prefix = 'text:'

export function textRoot(entity: string, field: string): string {
  return entity === '' ? `${prefix}${field}` : `${prefix}${entity}/${field}`
}

/** Null for a root that is no field's. */
export function fieldOfRoot(root: string): { readonly entity: string; readonly field: string } | null {
  if (!root.startsWith(prefix)) return null
  const slash = root.lastIndexOf('/')
  if (slash === -1) return { entity: '', field: root.slice(prefix.length) }
  return { entity: root.slice(prefix.length, slash), field: root.slice(slash + 1) }
}

export function text() {
  return {
    name: 'text',
    operations: {},
    create: () => null,
    apply() {},
    read: (_state, { entity, field, document }) =>
      document === null ? '' : document.text(textRoot(entity, field)).toString(),
  } satisfies Kind<null, string>
}
