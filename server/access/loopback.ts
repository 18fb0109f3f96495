/**
 * Whether a host, as HOST, a URL or a Host header names it, is this machine only. Names other than `localhost`
 * are not looked up: what a name server says can change after the check (DNS rebinding).
 */
import { isIP } from 'node:net'

export function isLoopback(host: string): boolean {
  const name = host.toLowerCase().replace(/^\[(.*)\]$/, '$1')
  if (name === 'localhost' || name === 'localhost.') return true
  switch (isIP(name)) {
    case 4:
      return name.startsWith('127.')
    case 6:
      // As the URL parser writes it: `::1` for every spelling of it.
      return new URL(`http://[${name.replace(/%.*/, '')}]`).hostname === '[::1]'
    default:
      return false
  }
}
