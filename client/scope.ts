/**
 * Whose storage it is: a name for server and user. A hash, so that no address or name stands in the names of
 * databases; synchronous and without `crypto.subtle`, which pages without TLS lack.
 */
import { digest } from 'lib0/hash/sha256'

export function scopeOf(url: string, user: string): string {
  const bytes = new TextEncoder().encode(JSON.stringify([url, user]))
  return hexOf(digest(bytes).subarray(0, 16))
}

/** The subject of a JSON Web Token, unverified: it chooses a drawer, it opens no door. '' when it has none. */
export function subjectOf(token: string): string {
  try {
    const payload = (token.split('.')[1] ?? '').replace(/-/g, '+').replace(/_/g, '/')
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0))
    const { sub } = JSON.parse(new TextDecoder().decode(bytes)) as { sub?: unknown }
    return typeof sub === 'string' ? sub : ''
  } catch {
    // Not a JSON Web Token: the app names the user if it wants one.
    return ''
  }
}

export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
