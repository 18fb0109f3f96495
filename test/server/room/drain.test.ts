/** Work that waits for a socket, against real sockets. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { Drain } from '../../../server/room/drain.ts'
import { until } from '../../support/wait.ts'

const endings: (() => void)[] = []
afterEach(() => {
  for (const end of endings.splice(0)) end()
})

/** Two ends; the second reads nothing until it is told to. */
async function pair(): Promise<[Socket, Socket]> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const other = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [socket] = (await once(server, 'connection')) as [Socket]
  other.pause()
  endings.push(() => {
    socket.destroy()
    other.destroy()
    server.close()
  })
  return [socket, other]
}

const turns = (): Promise<void> => new Promise((passed) => setTimeout(passed, 50))

test('goes one after the other, each when the socket holds nothing more', async () => {
  const [socket, other] = await pair()
  const drain = new Drain(socket)
  const done: number[] = []
  for (let i = 0; i < 3; i++)
    drain.whenDrained(async () => {
      expect(socket.writableLength).toBe(0)
      // As a session is read from the log before it is written to.
      await turns()
      socket.write(Buffer.alloc(16 * 1024 * 1024))
      done.push(i)
    })
  await until('the first is done', () => done.length === 1)
  await turns()
  expect(done).toEqual([0])
  other.resume()
  await until('all are done', () => done.length === 3)
  expect(done).toEqual([0, 1, 2])
})

test('is forgotten when the socket closes', async () => {
  const [socket] = await pair()
  const drain = new Drain(socket)
  let called = false
  socket.write(Buffer.alloc(16 * 1024 * 1024))
  drain.whenDrained(() => {
    called = true
  })
  socket.destroy()
  await once(socket, 'close')
  await turns()
  expect(called).toBe(false)
})
