/** Who is sold to. A customer belongs to the seller who looks after it; what the office knows of its credit, sellers do not see. */
import { defineAdapter, lastWrite, multiValue, owner, register, set, text } from 'tidemark/adapter'

export const customers = defineAdapter({
  name: 'customers',
  version: 1,
  documents: 'customers/:id',
  fields: {
    name: register<string>(),
    address: multiValue<string>(),
    phone: lastWrite<string>(),
    tags: set(),
    notes: text(),
    creditLimit: register<number>(),
    seller: owner({ fields: ['name', 'address'], roles: ['office'] }),
  },
  columns: { name: 'text', address: 'text', phone: 'text', creditLimit: 'numeric' },
  roles: ['seller', 'office'],
  sql: `
    create index on customers (name);
    grant select (document, name, address, address_conflict, phone, tags, notes, seller) on customers to seller;
    grant select on customers to office;
    grant select on customers_facts, customers_conflicts to office;
  `,
})
