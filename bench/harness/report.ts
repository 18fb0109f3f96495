/** Tables for people, JSON for the record: machine, commit, date and every raw figure. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import type { Answer, Row, Sample, Settings } from './question.ts'
import { root } from './root.ts'
import { versionOf } from './servers.ts'
import { median, type Spread } from './statistics.ts'

const resultsDir = `${root}bench/results/`
/** More of somebody else's work than this and the figures are worth little. */
const foreignCoresMax = 0.15

export function printAnswer(answer: Answer): void {
  process.stdout.write(`\n## ${answer.question}\n\n`)
  const figures = [...new Set(answer.rows.flatMap((row) => Object.keys(row.figures)))].filter(
    (figure) => figure !== 'loadCores' && figure !== 'foreignCores',
  )
  const head = ['server', ...figures.map(readable)]
  const lines = answer.rows.map((row) => [label(row), ...figures.map((figure) => show(row.figures[figure]))])
  process.stdout.write(table(head, lines))
  if (answer.verdicts.length > 0) {
    process.stdout.write('\n')
    process.stdout.write(
      table(
        ['target', 'server', 'measured', 'bound', ''],
        answer.verdicts.map((verdict) => [
          `${readable(verdict.figure)}${verdict.ratioTo === null ? '' : ` over ${verdict.ratioTo}`}`,
          `${verdict.server} ${verdict.name}`.trim(),
          show(verdict.measured),
          `${verdict.bound === 'atLeast' ? '≥' : '≤'} ${verdict.value}`,
          verdict.met ? 'met' : 'MISSED',
        ]),
      ),
    )
  }
  for (const note of answer.notes) process.stdout.write(`\n${note}\n`)
  const errors = answer.samples.flatMap((sample) =>
    sample.errors.map((error) => `${sample.server}: ${error}`),
  )
  for (const error of new Set(errors)) process.stdout.write(`\nERROR ${error}\n`)
  const foreign = answer.samples.flatMap((sample) => sample.figures['foreignCores'] ?? [])
  if (foreign.length > 0 && median(foreign) > foreignCoresMax)
    process.stdout.write(`\nNOISE others used ${median(foreign).toFixed(2)} cores meanwhile (median)\n`)
}

export function writeAnswer(
  answer: Answer,
  settings: Settings,
  versions: Readonly<Record<string, string>> = {},
): void {
  mkdirSync(resultsDir, { recursive: true })
  const record = {
    question: answer.question,
    ...occasion(),
    ...(Object.keys(versions).length === 0 ? {} : { versions }),
    settings: { runs: settings.runs, quick: settings.quick, contestants: settings.contestants },
    notes: answer.notes,
    rows: answer.rows,
    verdicts: answer.verdicts,
    samples: answer.samples,
  }
  const suffix = settings.quick ? '-quick' : ''
  writeFileSync(`${resultsDir}${answer.question}${suffix}.json`, `${JSON.stringify(record, null, 1)}\n`)
}

export interface Occasion {
  readonly date: string
  readonly commit: string
  /** Figures of uncommitted code cannot be had again. */
  readonly clean: boolean
  readonly machine: Readonly<Record<string, string | number>>
}

/** When, of what and where figures are measured. */
export function occasion(): Occasion {
  return {
    date: new Date().toISOString(),
    commit: git('rev-parse', '--short', 'HEAD'),
    clean: git('status', '--porcelain', '--', 'core', 'server', 'client', 'bench/*.ts') === '',
    machine: {
      cpu: cpus()[0]?.model ?? 'unknown',
      cores: cpus().length,
      memoryGb: Math.round(totalmem() / 1e9),
      kernel: release(),
      node: process.version,
      ws: versionOf('ws'),
    },
  }
}

/** What a file in bench/results holds, as far as documents are made of it. */
export interface AnswerRecord {
  readonly date: string
  readonly commit: string
  readonly machine: Readonly<Record<string, string | number>>
  readonly versions?: Readonly<Record<string, string>>
  readonly settings: { readonly runs: number; readonly quick: boolean }
  readonly notes: readonly string[]
  readonly rows: readonly Row[]
  readonly samples: readonly Sample[]
}

/** The last full run's, else the last quick one's, else null. */
export function readRecord(question: string): AnswerRecord | null {
  for (const suffix of ['', '-quick']) {
    const path = `${resultsDir}${question}${suffix}.json`
    if (existsSync(path)) return JSON.parse(readFileSync(path, 'utf8')) as AnswerRecord
  }
  return null
}

function git(...args: string[]): string {
  try {
    return execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    // Not a checkout: the result says so instead of a commit.
    return 'unknown'
  }
}

function label(row: Row): string {
  return row.name === '' ? row.server : `${row.server}, ${row.name}`
}

function readable(figure: string): string {
  return figure
    .replace(/([A-Z])/g, ' $1')
    .toLowerCase()
    .replace('microseconds', 'µs')
}

export function show(value: Spread | undefined): string {
  if (value === undefined || Number.isNaN(value.median)) return '-'
  return value.min === value.max
    ? number(value.median)
    : `${number(value.median)} (${number(value.min)}-${number(value.max)})`
}

function number(value: number): string {
  const size = Math.abs(value)
  if (Number.isInteger(value) && size < 1e4) return String(value)
  if (size >= 1e6) return `${(value / 1e6).toFixed(2)}M`
  if (size >= 1e4) return `${(value / 1e3).toFixed(1)}k`
  if (size >= 100) return value.toFixed(0)
  if (size >= 10) return value.toFixed(1)
  return value.toFixed(2)
}

function table(head: readonly string[], lines: readonly (readonly string[])[]): string {
  const widths = head.map((cell, i) => Math.max(cell.length, ...lines.map((line) => line[i]!.length)))
  const row = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(' | ')} |\n`
  return row(head) + row(widths.map((width) => '-'.repeat(width))) + lines.map(row).join('')
}
