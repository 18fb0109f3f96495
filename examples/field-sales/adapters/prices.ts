/** What a product costs whom, and what it costs us: the latter is for the office. */
import { defineAdapter, reference, register } from 'tidemark/adapter'

export const prices = defineAdapter({
  name: 'prices',
  version: 1,
  documents: 'prices/:id',
  fields: {
    product: reference('products/:id'),
    list: register<number>(),
    cost: register<number>(),
    validFrom: register<string>(),
  },
  columns: { list: 'numeric', cost: 'numeric', validFrom: 'date' },
  roles: ['seller', 'office'],
  sql: `
    grant select (document, product, list, valid_from) on prices to seller;
    grant select on prices to office;
    grant select on prices_facts, prices_conflicts to office;
  `,
})
