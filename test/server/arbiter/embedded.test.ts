/** The arbiter over PGlite. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { EmbeddedSql } from '../../../server/views/sql/embedded-sql.ts'
import { arbiterContract } from '../../contract/arbiter.ts'
import { silentLogger } from '../../support/silent-logger.ts'

const folder = mkdtempSync(join(tmpdir(), 'tidemark-arbiter-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

arbiterContract(async () => new EmbeddedSql({ folder, logger: silentLogger }))
