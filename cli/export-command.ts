/** `tidemark export`: from what was typed to what is said at the end. */
import type { Command } from 'commander'
import { exportAll, fetchDocument, writeWhole } from './export.ts'
import { type ExportFormat, exportFormats } from './export-list.ts'
import { choice, countOf, type RelayFlags, relayOf, withRelay } from './options.ts'
import { reportOn } from './report.ts'

interface ExportFlags extends RelayFlags {
  readonly prefix?: string
  readonly format: ExportFormat
  readonly output?: string
  readonly force: boolean
}

export function addExport(program: Command, signal: AbortSignal): void {
  const command = program
    .command('export')
    .summary('fetch documents from a relay')
    .description(
      'Fetches documents: one to stdout or into a file, several into a folder. An import reads such a folder, and another ' +
        'export into it fetches what has changed since.',
    )
    .argument('[id...]', 'documents')
    .option('--prefix <prefix>', "documents whose ids begin so; '' for all that the token may read")
    .addOption(
      choice('--format <format>', 'their bytes, what they say, or who wrote when', exportFormats).default(
        'update',
      ),
    )
    .option('-o, --output <path>', 'a file for one document; a folder for several or for --prefix')
    .option('--force', 'fetch also what has not changed', false)
  withRelay(command).action(async (ids: string[], flags: ExportFlags) => {
    process.exitCode = await run(ids, flags, signal)
  })
}

async function run(ids: readonly string[], flags: ExportFlags, signal: AbortSignal): Promise<number> {
  const { prefix, format, output, force } = flags
  if ((ids.length === 0) === (prefix === undefined)) throw new Error('Name documents, or give --prefix')
  const report = reportOn(process.stderr, 'exported')
  const relay = relayOf(flags, signal, report)
  await relay.greet()
  if (ids.length === 1) {
    const { bytes } = await fetchDocument(relay, ids[0]!, format)
    if (output !== undefined) await writeWhole(output, bytes)
    else if (process.stdout.isTTY && format === 'update')
      throw new Error('The bytes of a document are nothing for a terminal: give --output, or --format json')
    else await written(bytes)
    return 0
  }
  if (output === undefined) throw new Error('Several documents need a folder: give --output')
  const counts = await exportAll({
    relay,
    ids: prefix === undefined ? each(ids) : relay.list(prefix),
    folder: output,
    format,
    force,
    atOnceMax: flags.concurrency,
    report,
    signal,
  }).finally(() => report.end())
  const { exported, unchanged, failed, bytes, ended } = counts
  const parts = [`${countOf(exported, 'document')} (${countOf(bytes, 'byte')}) exported to ${output}`]
  if (unchanged > 0) parts.push(`${unchanged} unchanged`)
  if (failed > 0) parts.push(`${failed} failed`)
  report.say(`${parts.join(', ')}.${ended === null ? '' : ` Ended early: ${ended}.`}`)
  return failed === 0 && ended === null ? 0 : 1
}

async function* each(ids: readonly string[]): AsyncGenerator<string> {
  yield* new Set(ids)
}

/** A pipe takes what it can. */
function written(bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) =>
    process.stdout.write(bytes, (error) => (error ? reject(error) : resolve())),
  )
}
