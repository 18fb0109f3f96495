/** The arbiter over a real PostgreSQL. */
import { afterAll, beforeAll } from 'vitest'
import { PostgresSql } from '../../../server/views/sql/postgres-sql.ts'
import { arbiterContract } from '../../contract/arbiter.ts'
import { type PostgresServer, start } from '../../support/postgres-server.ts'
import { silentLogger } from '../../support/silent-logger.ts'

let server: PostgresServer
beforeAll(async () => {
  server = await start()
})
afterAll(() => server.stop())

arbiterContract(async () => new PostgresSql({ url: server.url, connectionsMax: 4, logger: silentLogger }))
