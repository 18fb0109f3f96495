/** What adapters import: `import { defineAdapter } from 'tidemark/adapter'`. docs/views.md explains it. */
export type {
  ElementNode,
  ListState,
  MapState,
  Mark,
  Run,
  State,
  TextNode,
  TextState,
  Touched,
  TreeNode,
  Value,
} from '../engine/live-document.ts'
export {
  type Adapter,
  type ClaimsOf,
  type Context,
  type Definition,
  defineAdapter,
  type Intent,
} from './adapter.ts'
export { AdapterError } from './adapter-error.ts'
export {
  headings,
  links,
  mentions,
  plainText,
  tasks,
  wordCount,
} from './editor.ts'
export type { FieldsOfDocument } from './fold/fields.ts'
export type { Claims } from './fold/kind.ts'
export * from './kinds/index.ts'
export { project, projectEntries, type Replacement } from './project.ts'
export type { ColumnValue, Row } from './row.ts'
export { loadEngine, rowsOf } from './rows-of.ts'
