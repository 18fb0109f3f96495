/** DATABASE_URL with another user: the address, its options and certificates stay. */
import type { Login } from '../store/roles.ts'

export function loginUrl(databaseUrl: string, { role, password }: Login): string {
  const url = new URL(databaseUrl)
  url.username = encodeURIComponent(role)
  url.password = encodeURIComponent(password)
  // As parameters they would count for more.
  url.searchParams.delete('user')
  url.searchParams.delete('password')
  return url.href
}
