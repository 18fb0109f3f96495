/**
 * What sending bytes costs at the least with the `ws` package: the limit every figure stands beside.
 * It knows rooms (the URL's path) and nothing else: no log, no check, no order beyond the socket's own.
 *
 * - `each`: a message is sent to every other socket of its room when it comes.
 * - `joined`: what came in a turn of the event loop is framed once, put together, and written once to
 *   each other socket.
 * - `bytes`: a message (u32) names how many bytes its sender wants; it gets them in one message, out of a
 *   buffer that all share. What answering a join costs at the least.
 *
 * `node raw-server.js each|joined|bytes`; prints the line the relay prints. Ends on SIGTERM.
 */
import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { type RawData, type WebSocket, WebSocketServer } from 'ws'

interface Member {
  readonly webSocket: WebSocket
  readonly socket: Socket
}

interface Room {
  readonly members: Set<Member>
  readonly waiting: { from: Member; frame: Buffer }[]
}

const joined = process.argv[2] === 'joined'
const answerBytesMax = 32 * 1024 * 1024
const answer = process.argv[2] === 'bytes' ? Buffer.alloc(answerBytesMax, 1) : null
const listenBacklog = 4096
const rooms = new Map<string, Room>()
let dirty: Room[] = []

function frameOf(payload: Buffer): Buffer {
  const length = payload.length
  const head = length < 126 ? 2 : length < 0x10000 ? 4 : 10
  const frame = Buffer.allocUnsafe(head + length)
  frame[0] = 0x82
  frame[1] = head === 2 ? length : head === 4 ? 126 : 127
  if (head === 4) frame.writeUInt16BE(length, 2)
  if (head === 10) frame.writeBigUInt64BE(BigInt(length), 2)
  payload.copy(frame, head)
  return frame
}

function flush(): void {
  const now = dirty
  dirty = []
  for (const room of now) {
    const waiting = room.waiting.splice(0)
    const all = Buffer.concat(waiting.map((item) => item.frame))
    const senders = new Set(waiting.map((item) => item.from))
    for (const member of room.members) {
      if (!senders.has(member)) member.socket.write(all)
      else if (senders.size > 1)
        member.socket.write(
          Buffer.concat(waiting.filter((item) => item.from !== member).map((item) => item.frame)),
        )
    }
  }
}

function onMessage(room: Room, from: Member, data: Buffer): void {
  if (answer !== null) {
    from.webSocket.send(answer.subarray(0, data.readUInt32BE(0)))
    return
  }
  if (joined) {
    if (dirty.length === 0) setImmediate(flush)
    if (room.waiting.length === 0) dirty.push(room)
    room.waiting.push({ from, frame: frameOf(data) })
    return
  }
  for (const member of room.members) if (member !== from) member.webSocket.send(data, { binary: true })
  // A room of one gets its own message back, so that a connect can be seen to work.
  if (room.members.size === 1) from.webSocket.send(data, { binary: true })
}

const server = createServer()
const webSockets = new WebSocketServer({ server, perMessageDeflate: false })
webSockets.on('connection', (webSocket, request) => {
  const name = request.url ?? '/'
  const room = rooms.get(name) ?? { members: new Set(), waiting: [] }
  rooms.set(name, room)
  const member: Member = { webSocket, socket: request.socket }
  room.members.add(member)
  webSocket.on('message', (data: RawData) => onMessage(room, member, data as Buffer))
  webSocket.on('error', () => {
    // The close that follows says all there is to do.
  })
  webSocket.on('close', () => {
    room.members.delete(member)
    if (room.members.size === 0) rooms.delete(name)
  })
})
server.listen({ port: 0, host: '127.0.0.1', backlog: listenBacklog }, () => {
  const { port } = server.address() as AddressInfo
  process.stdout.write(`${JSON.stringify({ msg: 'listening', url: `http://127.0.0.1:${port}` })}\n`)
})
process.on('SIGTERM', () => process.exit(0))
