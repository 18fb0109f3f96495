/**
 * The claims of a workflow, as a tree: each says "from the version `at` it went on by this transition". Of all its ways one is the
 * path, and the path is what happened.
 *
 *   start ─ confirm ┬ ship (decided, accepted)      the path: start, confirm, ship
 *                   ├ note (free, first in order)   stale: ship locks the way to it
 *                   └ cancel (decided, undecided)   pending; the judge will find it stale
 *
 * - Among several claims on one version wins the one that an accepted decision is on or below; else the free one that is first in
 *   order. The others are rejected as `stale`, with what is possible now.
 * - At most one can have an accepted decision below it: a decision counts only if the last one that counted (`locked`) is an ancestor
 *   of its claim, with free claims alone between them. So accepted claims are a chain, whatever was decided. (The judge accepts
 *   only at the tip, and knows all earlier decisions; so what it accepts does count.)
 * - What is free cannot be fixed: one that comes late, and is first in order, displaces another. What must not, is `decided`.
 * - A claim below an undecided one waits for it, and falls with it.
 * - A claim at the tip costs O(1); a decision that displaces others as much as it displaces. No recursion: who is hostile builds deep.
 */
import type { Fact, FactKey } from '../../facts/fact.ts'
import { effective } from '../../facts/outcome.ts'
import type { FoldContext } from '../../fold/kind.ts'

/** undecided: of a decided transition. waiting: free, below one that is undecided. */
export type Standing = 'effective' | 'undecided' | 'waiting' | 'rejected'

export interface Claim {
  /** Null for the start. */
  readonly fact: Fact | null
  readonly subject: string
  readonly transition: string
  readonly isDecided: boolean
  /** After it. */
  readonly state: string
  readonly parent: Claim | null
  /** In order. */
  readonly children: Claim[]
  standing: Standing
  /** On the path from here; only of those that are on it. */
  next: Claim | null
}

export interface Claims {
  readonly start: Claim
  readonly all: Map<FactKey, Claim>
  /** Undecided and waiting ones, in order. */
  readonly open: Set<Claim>
  tip: Claim
  /** The last one that was accepted, or the start. */
  locked: Claim
}

/** What it says of itself to whoever was rejected. */
export type Describe = (claims: Claims) => Readonly<Record<string, unknown>>

/** '' for the start. */
export const versionOf = (claim: Claim): FactKey => claim.fact?.key ?? ''

export const claimOf = ({ start, all }: Claims, version: FactKey): Claim | undefined =>
  version === '' ? start : all.get(version)

export function noClaims(initial: string): Claims {
  const start: Claim = {
    fact: null,
    subject: '',
    transition: '',
    isDecided: false,
    state: initial,
    parent: null,
    children: [],
    standing: 'effective',
    next: null,
  }
  return { start, all: new Map(), open: new Set(), tip: start, locked: start }
}

/** A legal one, new. */
export function add(claims: Claims, claim: Claim, context: FoldContext, describe: Describe): void {
  const parent = claim.parent!
  parent.children.push(claim)
  claims.all.set(versionOf(claim), claim)
  // The fold has settled it as pending.
  if (claim.isDecided) claims.open.add(claim)
  else if (parent === claims.tip) extend(claims, claim, context)
  else if (isOpen(parent)) {
    claim.standing = 'waiting'
    claims.open.add(claim)
    context.settle(claim.fact!, { status: 'pending', reason: 'follows_pending', by: versionOf(parent) })
  } else reject(claims, claim, context, describe, parent.next?.fact?.key)
}

/** False: there was no way to it from what is locked, so that it is stale after all. */
export function accept(claims: Claims, claim: Claim, context: FoldContext, describe: Describe): boolean {
  const branch = [claim]
  let fork = claim.parent!
  for (; fork !== claims.locked; fork = fork.parent!) {
    if (fork.isDecided || fork === claims.start) return false
    branch.push(fork)
  }
  // From here down the path may be what it was, up to where they part.
  while (branch.length > 1 && fork.next === branch.at(-1)) fork = branch.pop()!
  const displaced: Claim[] = []
  for (let each = fork.next; each !== null; each = each.next) displaced.push(each)
  fork.next = null
  claims.tip = fork
  for (const each of branch.reverse()) extend(claims, each, context)
  claims.locked = claim
  const fallen = grow(claims, context)
  for (const each of displaced) {
    each.next = null
    reject(claims, each, context, describe, versionOf(claim))
  }
  for (const each of fallen) fall(claims, each, context, describe)
  return true
}

/** What waits for it falls too. */
export function refuse(claims: Claims, claim: Claim, context: FoldContext, describe: Describe): void {
  claims.open.delete(claim)
  claim.standing = 'rejected'
  for (const child of claim.children) fall(claims, child, context, describe)
}

/** The path goes on with what waited for its tip; returns what waited beside that. */
function grow(claims: Claims, context: FoldContext): Claim[] {
  const fallen: Claim[] = []
  for (let grows = true; grows; ) {
    const [first, ...others] = claims.tip.children.filter(({ standing }) => standing === 'waiting')
    fallen.push(...others)
    grows = first !== undefined
    if (first !== undefined) extend(claims, first, context)
  }
  return fallen
}

function extend(claims: Claims, claim: Claim, context: FoldContext): void {
  claims.open.delete(claim)
  claim.standing = 'effective'
  claims.tip.next = claim
  claims.tip = claim
  context.settle(claim.fact!, effective)
}

/** It, and what waits below it, up to what is undecided: that is the judge's. */
function fall(claims: Claims, claim: Claim, context: FoldContext, describe: Describe): void {
  const falling = [claim]
  for (let next = falling.pop(); next !== undefined; next = falling.pop()) {
    if (next.standing !== 'waiting') continue
    reject(claims, next, context, describe, versionOf(next.parent!))
    for (const child of next.children) falling.push(child)
  }
}

function reject(claims: Claims, claim: Claim, context: FoldContext, describe: Describe, by?: FactKey): void {
  claims.open.delete(claim)
  claim.standing = 'rejected'
  const detail = describe(claims)
  context.settle(claim.fact!, { status: 'rejected', reason: 'stale', ...(by && { by }), detail })
}

const isOpen = ({ standing }: Claim): boolean => standing === 'undecided' || standing === 'waiting'
