/**
 * Which web pages may use the relay. A browser lets any page open a WebSocket to any address and says so in
 * `Origin`; programs send none. What matters is whether a page can do more than its user could do without it:
 *
 * - ALLOWED_ORIGINS set: exactly those, or all (`*`).
 * - With tokens: all. A page has no token unless its user, or the app's server, gave it one; none is ambient
 *   as a cookie is.
 * - Open: being able to connect is the only right there is, so a foreign page must not borrow it: only pages
 *   from this machine or from the host that the request names.
 * - Open on loopback: also the Host header must be loopback. A page of `evil.example` whose name is suddenly
 *   resolved to 127.0.0.1 (DNS rebinding) is of the same host as its requests, and its GETs then have no Origin
 *   at all, but Host says `evil.example`. So Host is looked at with or without Origin.
 *
 * A relay that is open on other addresses cannot tell rebinding from its own name: set ALLOWED_ORIGINS there.
 */
import { isLoopback } from './loopback.ts'
import { type AccessConfig, isOpen, originOf } from './settings.ts'

export type OriginRule = (origin: string | undefined, host: string | undefined) => boolean

/** Browsers' are shorter; what is longer is not parsed. */
const lengthMax = 2_048

export function createOriginRule(config: AccessConfig): OriginRule {
  const { ALLOWED_ORIGINS: allowed } = config
  if (allowed?.includes('*')) return () => true
  if (allowed !== undefined) {
    const origins = new Set(allowed)
    return (origin) => origin === undefined || origins.has(canonical(origin) ?? '')
  }
  if (!isOpen(config)) return () => true
  const localOnly = isLoopback(config.HOST)
  return (origin, host) => {
    const requested = hostOf(host)
    if (localOnly && (host === undefined ? origin !== undefined : !isLocal(requested))) return false
    if (origin === undefined) return true
    const page = hostOf(canonical(origin)?.replace(/^https?:\/\//, ''))
    return page !== null && (isLocal(page) || (requested !== null && samePlace(page, requested)))
  }
}

interface Place {
  readonly name: string
  readonly port: string
}

function canonical(origin: string): string | null {
  return origin.length <= lengthMax ? originOf(origin) : null
}

function hostOf(host: string | undefined): Place | null {
  if (host === undefined || host.length > lengthMax || !/^[^/?#@\\\s]+$/.test(host)) return null
  const url = `http://${host}`
  if (!URL.canParse(url)) return null
  const { hostname, port } = new URL(url)
  return { name: hostname, port }
}

function isLocal(place: Place | null): boolean {
  return place !== null && isLoopback(place.name)
}

/** A default port is not written, and which one that is depends on a scheme that a proxy may have changed. */
function samePlace(page: Place, requested: Place): boolean {
  const port = ({ port }: Place): string => (port === '80' || port === '443' ? '' : port)
  return page.name === requested.name && port(page) === port(requested)
}
