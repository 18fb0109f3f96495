/** Who was where, and what was said. A visit is the seller's own until it is handed over. */
import { defineAdapter, owner, reference, register, text } from 'tidemark/adapter'

export const visits = defineAdapter({
  name: 'visits',
  version: 1,
  documents: 'visits/:id',
  fields: {
    customer: reference('customers/:id'),
    day: register<string>(),
    report: text(),
    outcome: register<'order' | 'later' | 'no'>((value) =>
      ['order', 'later', 'no'].includes(value as string),
    ),
    seller: owner(),
  },
  columns: { day: 'date', outcome: 'text' },
  roles: ['seller', 'office'],
  sql: `
    create policy own on visits for select to seller
      using (seller = (select current_setting('request.jwt.claims', true)::json ->> 'sub'));
    create policy of_everybody on visits for select to office using (true);
  `,
})
