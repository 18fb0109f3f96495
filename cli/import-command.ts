/** `tidemark import`: from what was typed to what is said at the end. */
import { basename, dirname, join, resolve } from 'node:path'
import type { Command } from 'commander'
import { type ImportCounts, importAll } from './import.ts'
import { Journal } from './journal.ts'
import { Names, parseRename, type Rename } from './names.ts'
import { choice, countOf, type RelayFlags, refuse, relayOf, withRelay } from './options.ts'
import { reportOn } from './report.ts'
import { openSource } from './sources/open-source.ts'
import { type Source, type SourceKind, sourceKinds } from './sources/source.ts'

interface ImportFlags extends RelayFlags {
  readonly from?: SourceKind
  readonly id?: string
  readonly prefix: string
  readonly map: readonly Rename[]
  readonly journal?: string | false
  readonly force: boolean
  readonly dryRun: boolean
  readonly verify: boolean
}

export function addImport(program: Command, signal: AbortSignal): void {
  const command = program
    .command('import')
    .summary('bring documents into a relay')
    .description(
      'Brings the documents of SOURCE into a relay. It may be a Yjs update or an Automerge document, a folder of such files, ' +
        'a database of y-leveldb or of Hocuspocus (SQLite), or the folder of an automerge-repo. Which one it is, is seen by what is there.',
    )
    .argument('<source>', 'a file or a folder')
    .addOption(choice('--from <kind>', 'what SOURCE is, where that cannot be seen', sourceKinds))
    .option('--id <id>', "the document's id, of a source with one document (its name)")
    .option('--prefix <prefix>', 'what is put before each id', '')
    .option(
      '--map <expression>',
      'changes names, as s/pattern/replacement/ does in sed; repeatable',
      rename,
      [],
    )
    .option('--dry-run', 'read and check everything, list the ids, send nothing', false)
    .option('--no-verify', 'do not read back and compare what was sent')
    .option('--journal <file>', 'what is done, for the next time (SOURCE.tidemark-import)')
    .option('--no-journal', 'keep no journal')
    .option('--force', 'send also what the journal says is done', false)
  withRelay(command).action(async (path: string, flags: ImportFlags) => {
    process.exitCode = await run(path, flags, signal)
  })
}

async function run(path: string, flags: ImportFlags, signal: AbortSignal): Promise<number> {
  const source = await openSource(path, flags.from ?? null)
  const report = reportOn(process.stderr, flags.dryRun ? 'checked' : 'imported')
  let counts: ImportCounts
  let journal: Journal | null = null
  try {
    const count = await source.count()
    if (count === 0)
      throw new Error(`${path} has no documents, taken for ${source.kind}; --from says what it is`)
    if (flags.id !== undefined && count > 1)
      throw new Error('--id names one document, and the source has more: use --prefix or --map')
    const relay = flags.dryRun ? null : relayOf(flags, signal, report)
    await relay?.greet()
    const journalPath = journalOf(path, source, flags)
    if (relay !== null && journalPath !== null)
      journal = await Journal.open(journalPath, relay.url, flags.force)
    counts = await importAll({
      source,
      names: new Names({ id: flags.id ?? null, prefix: flags.prefix, renames: flags.map }),
      relay,
      journal,
      verify: flags.verify,
      atOnceMax: flags.concurrency,
      report,
      signal,
      planned: (name, id, bytes) => process.stdout.write(`${name} -> ${id}  ${countOf(bytes, 'byte')}\n`),
    })
  } finally {
    report.end()
    await source.close()
  }
  if (await source.hasChanged())
    counts.ended ??= 'the source was written to while it was read; end its server'
  const isWhole = counts.failed === 0 && counts.ended === null
  await (isWhole ? journal?.remove() : journal?.close())
  report.say(summaryOf(counts, flags))
  if (!isWhole && journal !== null && counts.imported + counts.skipped > 0)
    report.say(`The same command goes on from here: ${journal.path} says what is done.`)
  return isWhole ? 0 : 1
}

/** One document is one request: there is nothing to go on with. */
function journalOf(path: string, source: Source, { journal }: ImportFlags): string | null {
  if (journal === false) return null
  if (journal !== undefined) return journal
  const isSingle = source.kind === 'yjs' || source.kind === 'yjs-v2' || source.kind === 'automerge'
  return isSingle ? null : join(dirname(resolve(path)), `${basename(resolve(path))}.tidemark-import`)
}

function summaryOf(counts: ImportCounts, { dryRun, verify }: ImportFlags): string {
  const { imported, skipped, empty, failed, bytes, ended } = counts
  const what = dryRun ? 'could be imported' : verify ? 'imported and compared' : 'imported'
  const parts = [`${countOf(imported, 'document')} (${countOf(bytes, 'byte')}) ${what}`]
  if (skipped > 0) parts.push(`${skipped} done before`)
  if (empty > 0) parts.push(`${empty} without content passed over`)
  if (failed > 0) parts.push(`${failed} failed`)
  return `${parts.join(', ')}.${ended === null ? '' : ` Ended early: ${ended}.`}`
}

function rename(expression: string, before: readonly Rename[]): Rename[] {
  return [...before, parseRename(expression) ?? refuse('It is not of the form s/pattern/replacement/.')]
}
