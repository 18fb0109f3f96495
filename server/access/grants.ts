/**
 * What a token or the authorisation service says about a user: subject, roles, and which documents with which
 * access. Checked and bounded here, whoever signed it; anything that is not as described refuses the whole of it,
 * because half of somebody's rights is a state that nobody has thought of. Unknown fields are left alone.
 *
 * The highest access of all patterns that match a document counts; nothing can be taken away by a pattern, so
 * their order means nothing. No patterns: no access.
 */
import { z } from 'zod'
import type { DocumentId } from '../../core/document-id.ts'
import { type Access, accessLevels, type Identity } from './access.ts'
import { canBegin, isLiteral, matches, type Pattern, parsePattern, textOf } from './pattern.ts'

export const grantsMax = 1_000
export const rolesMax = 100
export const nameLengthMax = 255

const name = z
  .string()
  .min(1)
  .max(nameLengthMax)
  .refine((value) => value.isWellFormed())

export const subjectSchema = name
export const rolesSchema = z.array(name).max(rolesMax).default([])
export const grantsSchema = z
  .array(
    z.object({
      match: z.string().transform((text, context): Pattern => {
        const pattern = parsePattern(text)
        if (pattern !== null) return pattern
        context.addIssue({ code: 'custom', message: 'not a pattern' })
        return z.NEVER
      }),
      access: z.enum(['read', 'write', 'admin']),
    }),
  )
  .max(grantsMax)
  .default([])

type Grants = z.infer<typeof grantsSchema>
type Rights = Pick<Identity, 'accessTo' | 'accessToAll' | 'readable' | 'mayList'>

export function rightsOf(grants: Grants): Rights {
  const rank = (access: Access): number => accessLevels.indexOf(access)
  const literals = new Map<string, Access>()
  for (const { match, access } of grants.filter(({ match }) => isLiteral(match))) {
    const id = match.join('/')
    if (rank(access) > rank(literals.get(id) ?? 'none')) literals.set(id, access)
  }
  // Highest first: the first match is the answer.
  const patterns = grants
    .filter(({ match }) => !isLiteral(match))
    .sort((a, b) => rank(b.access) - rank(a.access))
  return {
    accessTo(document) {
      if (isSystemDocument(document)) return 'none'
      const literal = literals.get(document) ?? 'none'
      const segments = document.split('/')
      const wider = patterns.find(
        ({ match, access }) => rank(access) > rank(literal) && matches(match, segments),
      )
      return wider?.access ?? literal
    },
    accessToAll: patterns.find(({ match }) => match.length === 1 && match[0] === '**')?.access ?? 'none',
    readable: [...new Set(grants.map(({ match }) => textOf(match)))].sort(),
    mayList: (prefix) => grants.some(({ match }) => canBegin(match, prefix)),
  }
}

/** Everybody, in open mode. */
export const openIdentity: Identity = {
  subject: '',
  roles: [],
  claims: {},
  issuedMs: null,
  expiresMs: null,
  renewable: false,
  accessTo: (document) => (isSystemDocument(document) ? 'none' : 'admin'),
  accessToAll: 'admin',
  readable: ['**'],
  mayList: () => true,
}

/** Those that only Tidemark itself names. No client can: a second lock on a door that is not there. */
function isSystemDocument(document: DocumentId): boolean {
  return document.charCodeAt(0) < 0x20
}
