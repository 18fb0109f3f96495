/**
 * Asks a PostgreSQL server to cancel what a connection is at: the protocol wants a connection of its own for that, without a
 * login. A server that is between two statements just then takes no notice: so it is asked again, until there is an answer.
 * In the end the statement has a timeout.
 */
import { connect } from 'node:net'
import type pg from 'pg'

const cancelCode = 80_877_102
const cancelMsMax = 2_000
const againMs = 250

/** What `pg` has of a connection, beside what its types tell. */
interface Connected {
  readonly processID: number | null
  readonly secretKey: number | null
  readonly host: string
  readonly port: number
}

/** Returns what ends the asking. */
export function cancelQuery(client: pg.PoolClient): () => void {
  request(client)
  const again = setInterval(() => request(client), againMs)
  return () => clearInterval(again)
}

function request(client: pg.PoolClient): void {
  const { processID, secretKey, host, port } = client as unknown as Connected
  if (processID === null || secretKey === null) return
  const message = Buffer.alloc(16)
  message.writeInt32BE(16, 0)
  message.writeInt32BE(cancelCode, 4)
  message.writeInt32BE(processID, 8)
  message.writeInt32BE(secretKey, 12)
  const socket = connect(host.startsWith('/') ? { path: `${host}/.s.PGSQL.${port}` } : { host, port })
  socket.setTimeout(cancelMsMax, () => socket.destroy())
  socket.on('error', () => socket.destroy())
  socket.end(message)
}
