/** What is sold. The office writes it; everybody reads it. */
import { defineAdapter, register, text } from 'tidemark/adapter'

export const products = defineAdapter({
  name: 'products',
  version: 1,
  documents: 'products/:id',
  fields: {
    name: register<string>(),
    unit: register<string>(),
    active: register<boolean>(),
    description: text(),
  },
  columns: { name: 'text', unit: 'text', active: 'boolean' },
})
