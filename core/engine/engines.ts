/** Every engine by its name. */
import type { Engine, EngineName } from './engine.ts'
import { yjsEngine } from './yjs/yjs-engine.ts'

export const engines: Readonly<Record<EngineName, Engine>> = { yjs: yjsEngine }
