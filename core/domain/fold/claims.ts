/** What a document's accepted decisions have taken and not freed: no other document needs to be asked, and no order kept. */
import type { FactKey } from '../facts/fact.ts'
import { parseDecision } from './decision.ts'
import type { DocumentFold } from './document-fold.ts'
import type { Claims } from './kind.ts'

export interface Claim {
  readonly resource: string
  readonly entity: string
  /** The intent that took it. */
  readonly intent: FactKey
}

export function claimsIn(fold: DocumentFold): Claim[] {
  return fold.names().flatMap((entity) => {
    const held = new Map<string, Claim>()
    for (const { isDecision, outcome, payload, intent } of fold.facts(entity)) {
      if (!isDecision || outcome.status !== 'effective') continue
      const { takes = [], frees = [] } = parseDecision(payload)?.claims ?? {}
      for (const resource of frees) held.delete(resource)
      for (const resource of takes) if (!held.has(resource)) held.set(resource, { resource, entity, intent })
    }
    return [...held.values()]
  })
}

/** As a decision says it: without what is empty, and what is taken in the same breath is not freed. */
export function toldClaims({ takes, frees }: Claims): Partial<Claims> {
  const freed = frees.filter((resource) => !takes.includes(resource))
  return { ...(takes.length > 0 && { takes }), ...(freed.length > 0 && { frees: freed }) }
}
