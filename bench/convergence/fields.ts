/** The rules that documents of histories have, for replicas and for the adapter alike. */
import { counter, lastWrite, multiValue, quantity, set, workflow } from '../../core/domain/kinds/index.ts'

export const fields = {
  stock: quantity(),
  price: multiValue<number>(),
  tags: set<string>(),
  count: counter(),
  due: lastWrite<number>(),
  state: workflow({
    states: ['draft', 'review', 'done', 'sealed'],
    initial: 'draft',
    transitions: {
      submit: { from: 'draft', to: 'review', consistency: 'free' },
      revise: { from: ['review', 'done'], to: 'draft', consistency: 'free' },
      finish: { from: 'review', to: 'done', consistency: 'free' },
      seal: { from: ['draft', 'review', 'done'], to: 'sealed', consistency: 'decided' },
    },
  }),
} as const

export const documentFields = { fields }
