/** All kinds of clients that take part in histories: a new one is added here. */
import { hocuspocus } from './hocuspocus.ts'
import type { ClientKind } from './replica.ts'
import { tidemark } from './tidemark.ts'
import { yWebsocket } from './y-websocket.ts'

export const clientKinds: readonly ClientKind[] = [tidemark, yWebsocket, hocuspocus]
