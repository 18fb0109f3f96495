#!/usr/bin/env node
/**
 * `tidemark import` and `tidemark export`: documents between a relay and files or the databases of other servers.
 * docs/import-export.md says how they are used.
 *
 * Ends with 0 when all documents are where they should be, with 1 when some are not, with 2 when nothing was done because
 * the command, the source or the relay is not what it should be. What people read goes to stderr, documents to stdout.
 * Tokens are never printed.
 */
import { Command, CommanderError } from 'commander'
import { addExport } from './export-command.ts'
import { addImport } from './import-command.ts'

const ended = new AbortController()
// Once: who asks twice does not want to wait for what is on its way.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ended.abort())

const program = new Command('tidemark')
  .description('Moves documents between a relay and files or the databases of other servers.')
  .exitOverride()
  .configureHelp({ sortOptions: false })
  .showHelpAfterError('(--help says what there is)')
addImport(program, ended.signal)
addExport(program, ended.signal)

try {
  await program.parseAsync()
} catch (error) {
  // Commander has said it already; help is no failure.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2
  else {
    process.stderr.write(`tidemark: ${(error as Error).message}\n`)
    process.exitCode = 2
  }
}
