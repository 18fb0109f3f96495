/**
 * Who uses this page, and the one client it has.
 *
 * A token comes with the page's URL (`?token=`), moves to this tab's session storage and disappears from the address bar, so that
 * a copied link gives nobody access. Documents that the client keeps on this device are kept by the token's `sub`: another
 * user of the same browser does not see them. Without a token (an open relay) everybody is the same nobody.
 */
import { type Client, createClient } from 'tidemark/client'

const tokenKey = 'tidemark.editor.token'
const offlineKey = 'tidemark.editor.offline'

export interface Session {
  readonly client: Client
  /** '' without a token. */
  readonly user: string
  /** Of the token. */
  readonly roles: readonly string[]
  /** For the HTTP API. */
  readonly headers: () => Record<string, string>
}

export function startSession(): Session {
  takeTokenFromUrl()
  const { user, roles } = whoseIs(currentToken())
  const client = createClient({
    url: location.origin,
    // Asked again at each connection: a page that embeds the editor may have put a newer one there.
    ...(currentToken() === null ? {} : { token: () => currentToken() ?? '' }),
    user,
  })
  if (sessionStorage.getItem(offlineKey) !== null) client.pause()
  const headers = (): Record<string, string> => {
    const token = currentToken()
    return token === null ? {} : { authorization: `Bearer ${token}` }
  }
  return { client, user, roles, headers }
}

/** Stays so when the page is loaded again, as a lack of network would. */
export function switchOffline(client: Client, offline: boolean): void {
  if (offline) {
    sessionStorage.setItem(offlineKey, 'true')
    client.pause()
  } else {
    sessionStorage.removeItem(offlineKey)
    client.resume()
  }
}

function currentToken(): string | null {
  return sessionStorage.getItem(tokenKey)
}

function takeTokenFromUrl(): void {
  const url = new URL(location.href)
  const token = url.searchParams.get('token')
  if (token === null) return
  sessionStorage.setItem(tokenKey, token)
  url.searchParams.delete('token')
  history.replaceState(null, '', url)
}

interface Claimed {
  readonly user: string
  readonly roles: readonly string[]
}

/** Nothing is believed because of this: the server verifies the token, this only chooses a drawer and what is offered. */
function whoseIs(token: string | null): Claimed {
  try {
    const claims = token?.split('.')[1]?.replace(/-/g, '+').replace(/_/g, '/')
    if (claims === undefined) return { user: '', roles: [] }
    const bytes = Uint8Array.from(atob(claims), (char) => char.charCodeAt(0))
    const { sub, roles } = JSON.parse(new TextDecoder().decode(bytes)) as { sub?: unknown; roles?: unknown }
    return {
      user: typeof sub === 'string' ? sub : '',
      roles: Array.isArray(roles) ? roles.filter((role) => typeof role === 'string') : [],
    }
  } catch {
    // Not a JSON Web Token: for an authorisation service it may be anything, and is its own drawer.
    return { user: token ?? '', roles: [] }
  }
}
