/**
 * What a request says before anything is decided: which document, which token, from where. A token stands in the
 * query, because browsers cannot set headers on a WebSocket, or in the Authorization header; it is passed on and
 * never logged.
 */
import type { IncomingMessage } from 'node:http'
import proxyAddress from '@fastify/proxy-addr'
import { type DocumentId, parseDocumentId } from '../../core/document-id.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'

/** Paths that other doors will have, or have; no document may hide behind them. */
const reservedPaths: ReadonlySet<string> = new Set(['automerge', 'hocuspocus'])

const pathOf = (request: IncomingMessage): string => (request.url ?? '/').slice(1).split('?', 1)[0] ?? ''

const isAt = (request: IncomingMessage, door: string): boolean => {
  const path = pathOf(request)
  return path === door || path === `${door}/`
}

/** Whether it is for the Hocuspocus door. */
export const isHocuspocus = (request: IncomingMessage): boolean => isAt(request, 'hocuspocus')

/** Whether it is for the automerge-repo door. */
export const isAutomerge = (request: IncomingMessage): boolean => isAt(request, 'automerge')

/** The id in a request's path; throws `invalid_document_id`. */
export function documentIdOf(request: IncomingMessage): DocumentId {
  const document = decodeDocumentId(pathOf(request))
  if (reservedPaths.has(document)) {
    throw new TidemarkError('invalid_document_id', `The path ${document} is reserved for another dialect`)
  }
  return document
}

/** An id from its percent-encoded form; throws `invalid_document_id`. */
export function decodeDocumentId(encoded: string): DocumentId {
  let decoded: string
  try {
    decoded = decodeURIComponent(encoded)
  } catch {
    throw new TidemarkError('invalid_document_id', 'Document id is not valid percent-encoding')
  }
  return parseDocumentId(decoded)
}

export function queryOf(request: IncomingMessage): URLSearchParams {
  return new URLSearchParams(request.url?.split('?', 2)[1] ?? '')
}

/** Null without one. The header comes first: whoever can set it had a choice. */
export function tokenOf(request: IncomingMessage): string | null {
  const bearer = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? '')?.[1]
  return bearer ?? queryOf(request).get('token')
}

export type AddressOf = (request: IncomingMessage) => string

/** Whether all are addresses, networks or words such as `loopback`. */
export function areAddresses(list: readonly string[]): boolean {
  try {
    proxyAddress.compile([...list])
    return true
  } catch {
    // It says which one; the caller names the setting and what it takes.
    return false
  }
}

/** The client's address: the peer's, or what a trusted proxy says in X-Forwarded-For. Throws for what is no address or range. */
export function clientAddresses(trustedProxies: readonly string[]): AddressOf {
  if (trustedProxies.length === 0) return (request) => request.socket.remoteAddress ?? ''
  const trust = proxyAddress.compile([...trustedProxies])
  return (request) => proxyAddress(request, trust)
}

/** Whether the client offers this subprotocol for its WebSocket. */
export function offers(request: IncomingMessage, subprotocol: string): boolean {
  const offered = request.headers['sec-websocket-protocol'] ?? ''
  return offered.split(',').some((name) => name.trim() === subprotocol)
}
