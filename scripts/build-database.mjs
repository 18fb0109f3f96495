/**
 * Makes dist/server/views/sql/initial-database.tar.gz, with which every embedded database of views begins: PGlite takes six seconds of
 * CPU to make one, and less than two to copy and open this one.
 *
 * dist/.initial-database names the version of PGlite that made it. Without the file a relay makes its database itself, so
 * `npm start` does not wait for this.
 */
import * as fs from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { root } from './build.mjs'

const target = join(root, 'dist/server/views/sql/initial-database.tar.gz')
const stamp = join(root, 'dist/.initial-database')

/** Returns 'fresh' or 'built'. */
export async function buildDatabaseIfStale() {
  const { version } = JSON.parse(
    fs.readFileSync(join(root, 'node_modules/@electric-sql/pglite/package.json'), 'utf8'),
  )
  const isFresh = fs.existsSync(target) && fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === version
  if (isFresh) return 'fresh'
  const { PGlite } = await import('@electric-sql/pglite')
  const database = await PGlite.create()
  const dump = await database.dumpDataDir('gzip')
  await database.close()
  fs.mkdirSync(dirname(target), { recursive: true })
  const output = fs.mkdtempSync(join(root, '.build-'))
  try {
    const file = join(output, 'initial-database.tar.gz')
    fs.writeFileSync(file, new Uint8Array(await dump.arrayBuffer()))
    fs.rmSync(stamp, { force: true })
    fs.renameSync(file, target)
    fs.writeFileSync(stamp, version)
    return 'built'
  } finally {
    fs.rmSync(output, { recursive: true, force: true })
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildDatabaseIfStale()
