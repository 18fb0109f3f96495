/** What was ordered. A seller drafts it offline and submits it; the office approves it, once, whatever others do meanwhile. */
import { counter, defineAdapter, multiValue, reference, workflow } from 'tidemark/adapter'

export const orders = defineAdapter({
  name: 'orders',
  version: 1,
  documents: 'orders/:id',
  fields: {
    customer: reference('customers/:id'),
    visit: reference('visits/:id'),
    discount: multiValue<number>((value) => typeof value === 'number' && value >= 0 && value <= 100),
    state: workflow({
      states: ['draft', 'submitted', 'approved', 'shipped', 'cancelled'],
      initial: 'draft',
      transitions: {
        submit: { from: 'draft', to: 'submitted', consistency: 'free' },
        approve: { from: 'submitted', to: 'approved', consistency: 'decided', roles: ['office'] },
        ship: { from: 'approved', to: 'shipped', consistency: 'decided', roles: ['office'] },
        cancel: { from: ['draft', 'submitted', 'approved'], to: 'cancelled', consistency: 'decided' },
      },
    }),
  },
  collections: { lines: { product: reference('products/:id'), count: counter() } },
  columns: { discount: 'numeric' },
})
