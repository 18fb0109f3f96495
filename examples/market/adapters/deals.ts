/** Deals about a listing. A harvest is sold once: of two deals about one listing, one can have a buyer. */
import { defineAdapter } from 'tidemark/adapter'
import { deals as definition } from './fields/deals.ts'

export const deals = defineAdapter({
  name: 'deals',
  version: 1,
  documents: 'deals/:id',
  ...definition,
  settles: { delivery: ['seller'] },
  columns: { delivery: 'text' },
  claims: ({ type }, read) => {
    const listing = read('listing')
    if (typeof listing !== 'string') return null
    if (type === 'bids.accept') return { takes: [listing], frees: [] }
    return type === 'state.cancel' ? { takes: [], frees: [listing] } : null
  },
})
