/**
 * Hocuspocus as its documentation sets it up: documents in SQLite, and Redis between nodes when REDIS_URL is given. Its defaults hold:
 * a document is stored 2 s after its last change, and 10 s after its first at the latest.
 *
 *   node hocuspocus.mjs <database file>
 */
import { Redis } from '@hocuspocus/extension-redis'
import { SQLite } from '@hocuspocus/extension-sqlite'
import { Server } from '@hocuspocus/server'

const [database] = process.argv.slice(2)
const extensions = [new SQLite({ database })]
if (process.env.REDIS_URL !== undefined) {
  const { hostname, port } = new URL(process.env.REDIS_URL)
  extensions.push(new Redis({ host: hostname, port: Number(port) }))
}
const server = new Server({
  port: Number(process.env.PORT ?? 0),
  address: '127.0.0.1',
  quiet: true,
  extensions,
})
await server.listen()
process.stdout.write(`${JSON.stringify({ msg: 'listening', url: server.webSocketURL })}\n`)
