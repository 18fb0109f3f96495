/** What both commands take: which relay, as whom, how hard to try. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { Relay } from './relay.ts'
import type { Report } from './report.ts'

export interface RelayFlags {
  readonly url: string
  readonly token?: string
  readonly concurrency: number
  readonly retries: number
}

const concurrencyMax = 32
const retriesMax = 100
/** Between lines that say it. */
const waitingMsMin = 5_000

export function withRelay(command: Command): Command {
  return command
    .addOption(
      new Option('--url <url>', 'of the relay')
        .env('TIDEMARK_URL')
        .default('http://127.0.0.1:8080')
        .argParser(urlOf),
    )
    .addOption(
      new Option('--token <token>', 'better as TIDEMARK_TOKEN: other users see arguments').env(
        'TIDEMARK_TOKEN',
      ),
    )
    .option(
      '--concurrency <n>',
      `documents at the same time, at most ${concurrencyMax}`,
      upTo(concurrencyMax, 1),
      4,
    )
    .option(
      '--retries <n>',
      'of a request that the relay cannot answer now, longer apart each time',
      upTo(retriesMax, 0),
      8,
    )
}

export function relayOf(flags: RelayFlags, signal: AbortSignal, report: Report): Relay {
  const { url, token = '', retries } = flags
  const { protocol, hostname } = new URL(url)
  if (token !== '' && protocol === 'http:' && !/^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname))
    report.say(`warning: the token goes to ${hostname} unencrypted; use https`)
  let saidMs = Number.NEGATIVE_INFINITY
  return new Relay({
    url,
    token: token === '' ? null : token,
    retriesMax: retries,
    signal,
    waiting(reason) {
      if (Date.now() - saidMs < waitingMsMin) return
      saidMs = Date.now()
      report.say(`waiting: ${reason}`)
    },
  })
}

export function choice(flags: string, description: string, choices: readonly string[]): Option {
  return new Option(flags, description).choices(choices)
}

export function refuse(why: string): never {
  throw new InvalidArgumentError(why)
}

export function countOf(amount: number, what: string): string {
  return `${amount.toLocaleString('en-US')} ${what}${amount === 1 ? '' : 's'}`
}

function urlOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : refuse('It is not a URL.')
  if (url.protocol !== 'http:' && url.protocol !== 'https:') refuse('It must begin with http:// or https://.')
  if (url.username !== '' || url.search !== '' || url.hash !== '') refuse('Give the token as TIDEMARK_TOKEN.')
  return text
}

function upTo(most: number, least: number): (text: string) => number {
  return (text) => {
    const number = Number(text)
    if (Number.isInteger(number) && number >= least && number <= most) return number
    return refuse(`It takes a whole number from ${least} to ${most}.`)
  }
}
