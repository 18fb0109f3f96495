import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { type PostgresServer, postgresFolder, start } from './postgres-server.ts'

const servers: PostgresServer[] = []
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.stop()))
})

async function started(): Promise<PostgresServer> {
  const server = await start()
  servers.push(server)
  return server
}

function query(url: string, sql: string): string {
  const psql = join(postgresFolder() ?? '', 'psql')
  return execFileSync(psql, ['-XAtq', '-v', 'ON_ERROR_STOP=1', url, '-c', sql], {
    encoding: 'utf8',
    stdio: 'pipe',
  }).trim()
}

test('a PostgreSQL of our own answers, flushes commits, and keeps them through kill -9', async () => {
  const server = await started()
  expect(query(server.url, 'show fsync')).toBe('on')
  expect(query(server.url, 'show server_encoding')).toBe('UTF8')
  query(server.url, 'create table kept (id int); insert into kept values (1), (2)')

  await server.kill9()
  expect(() => query(server.url, 'select 1')).toThrow()
  await server.restart()

  expect(query(server.url, 'select count(*) from kept')).toBe('2')
})

test('two servers run side by side, and stopping one removes its folder', async () => {
  const server = await started()
  const other = await started()
  expect(other.url).not.toBe(server.url)
  const folder = query(other.url, 'show data_directory')
  expect(existsSync(folder)).toBe(true)
  await other.stop()
  expect(existsSync(folder)).toBe(false)
  expect(query(server.url, 'select 1')).toBe('1')
})
