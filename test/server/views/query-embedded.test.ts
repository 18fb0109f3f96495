/** Queries on PGlite: the contract. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe } from 'vitest'
import { EmbeddedSql } from '../../../server/views/sql/embedded-sql.ts'
import { inboxContract } from '../../contract/views-inbox.ts'
import { viewsQueryContract } from '../../contract/views-query.ts'
import { silentLogger } from '../../support/silent-logger.ts'

const folder = mkdtempSync(join(tmpdir(), 'tidemark-query-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('the contract', () =>
  viewsQueryContract(async () => {
    const sql = new EmbeddedSql({ folder, logger: silentLogger })
    return { owner: sql, reader: sql, isEmbedded: true }
  }, inboxContract))
