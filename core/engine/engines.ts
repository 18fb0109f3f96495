/** Every engine by its name. Nothing that runs in a browser may import this: it would bring Automerge along. */
import { automergeEngine } from './automerge/automerge-engine.ts'
import type { Engine, EngineName } from './engine.ts'
import { yjsEngine } from './yjs/yjs-engine.ts'

export { engineOf } from './engine-of.ts'

export const engines: Readonly<Record<EngineName, Engine>> = { yjs: yjsEngine, automerge: automergeEngine }
