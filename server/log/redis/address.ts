/**
 * What `REDIS_URL` may be: one server, or the Sentinels that know which server is the master now.
 *
 *   redis://[user:password@]host[:port][/0]
 *   redis+sentinel://[user:password@]host[:port],host[:port],…/master[/0][?sentinelUsername=…&sentinelPassword=…]
 *
 * `rediss` in front encrypts, with Sentinels the way to them too. User and password are those of the
 * servers; Sentinels with a password of their own have it behind the question mark. Here is no I/O and no
 * client of Redis: the configuration asks too.
 */

export interface Place {
  readonly host: string
  readonly port: number
}

export interface SentinelAddress {
  readonly sentinels: readonly Place[]
  /** The name under which they watch the master. */
  readonly masterName: string
  readonly tls: boolean
  /** As in the URL, still encoded: `user:password`, or ''. */
  readonly credentials: string
  /** The same for the Sentinels themselves. */
  readonly sentinelCredentials: string
}

export const sentinelsMax = 16
const sentinelPort = 26_379

/** What a URL of Sentinels looks like, for people. */
export const sentinelForm = 'redis+sentinel://host:port,host:port,host:port/<name of the master>'

// Redis's channels know no databases: two deployments on one server would hear each other.
const serverForm = /^rediss?:\/\/[^/]+(\/0?)?$/
const ofSentinels = /^redis(s?)\+sentinel:\/\/(?:([^/?#]*)@)?([^/?#@]+)\/([\w.-]+)(?:\/0?)?(?:\?([^#]*))?$/

export const meansSentinels = (url: string): boolean => /^rediss?\+sentinel:/.test(url)

export const isRedisAddress = (url: string): boolean =>
  meansSentinels(url) ? parseSentinelAddress(url) !== null : serverForm.test(url)

/** Null when the URL is not of Sentinels, or not as above. */
export function parseSentinelAddress(url: string): SentinelAddress | null {
  const found = ofSentinels.exec(url)
  if (found === null) return null
  const [, s, credentials = '', list = '', masterName = '', query = ''] = found
  const sentinels = list.split(',').map(placeOf)
  const options = new URLSearchParams(query)
  const known = ['sentinelUsername', 'sentinelPassword']
  if ([...options.keys()].some((name) => !known.includes(name))) return null
  if (sentinels.length > sentinelsMax || !sentinels.every((place) => place !== null)) return null
  const [user, password] = known.map((name) => encodeURIComponent(options.get(name) ?? ''))
  const sentinelCredentials = user === '' && password === '' ? '' : `${user}:${password}`
  const address = { sentinels, masterName, tls: s === 's', credentials, sentinelCredentials }
  const usable = sentinels.every((place) => URL.canParse(sentinelUrl(address, place)))
  return usable && URL.canParse(serverUrl(address, { host: 'host', port: 1 })) ? address : null
}

export const sentinelUrl = (address: SentinelAddress, place: Place): string =>
  urlOf(address.tls, address.sentinelCredentials, place)

export const serverUrl = (address: SentinelAddress, place: Place): string =>
  urlOf(address.tls, address.credentials, place)

export const nameOf = ({ host, port }: Place): string => `${host.includes(':') ? `[${host}]` : host}:${port}`

const urlOf = (tls: boolean, credentials: string, place: Place): string =>
  `redis${tls ? 's' : ''}://${credentials === '' ? '' : `${credentials}@`}${nameOf(place)}`

function placeOf(text: string): Place | null {
  const [, bracketed, plain, port = String(sentinelPort)] =
    /^(?:\[([\da-fA-F:.]+)\]|([^:[\]\s]+))(?::(\d{1,5}))?$/.exec(text) ?? []
  const host = bracketed ?? plain
  return host === undefined || Number(port) < 1 || Number(port) > 65_535 ? null : { host, port: Number(port) }
}
