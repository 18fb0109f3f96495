/** How much of a product a warehouse has. Sellers take what they hold rights for, offline; the office brings stock in and hands out rights. */
import { defineAdapter, quantity, reference, register } from 'tidemark/adapter'

export const inventory = defineAdapter({
  name: 'inventory',
  version: 1,
  documents: 'inventory/:id',
  fields: {
    product: reference('products/:id'),
    warehouse: register<string>(),
    stock: quantity({ roles: { supply: ['office'], grant: ['office'], callIn: ['office'] } }),
  },
  columns: { warehouse: 'text' },
})
