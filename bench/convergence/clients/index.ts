/** All engines, and with them all kinds of clients that take part in histories: a new one is added here. */
import { automerge } from './automerge.ts'
import type { Engine, EngineName } from './engine.ts'
import { yjs } from './yjs.ts'

export const engines: Readonly<Record<EngineName, Engine>> = { yjs, automerge }
export const engineNames = Object.keys(engines) as EngineName[]
