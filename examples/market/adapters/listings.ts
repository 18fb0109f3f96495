/** Harvests that are on the market. */
import { defineAdapter } from 'tidemark/adapter'
import { listings as definition } from './fields/listings.ts'

export const listings = defineAdapter({
  name: 'listings',
  version: 1,
  documents: 'listings/:id',
  ...definition,
  settles: { harvest: ['seller'], asking: ['seller'], storage: ['seller'] },
  columns: { harvest: 'text', asking: 'numeric', storage: 'text' },
})
