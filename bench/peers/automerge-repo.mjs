/**
 * automerge-repo's sync server as its authors set it up: one Repo that shares nothing of its own accord, files for storage.
 *
 *   node automerge-repo.mjs <folder>
 */
import { createServer } from 'node:http'
import { Repo } from '@automerge/automerge-repo'
import { WebSocketServerAdapter } from '@automerge/automerge-repo-network-websocket'
import { NodeFSStorageAdapter } from '@automerge/automerge-repo-storage-nodefs'
import { WebSocketServer } from 'ws'

const [folder] = process.argv.slice(2)
const http = createServer()
const sockets = new WebSocketServer({ server: http })
new Repo({
  network: [new WebSocketServerAdapter(sockets)],
  storage: new NodeFSStorageAdapter(folder),
  peerId: 'storage-server',
  sharePolicy: async () => false,
})
http.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => {
  const { port } = http.address()
  process.stdout.write(`${JSON.stringify({ msg: 'listening', url: `ws://127.0.0.1:${port}` })}\n`)
})
