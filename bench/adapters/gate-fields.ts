/** For the adapter and the load alike. */
import { workflow } from '../../core/domain/kinds/index.ts'

export const gateFields = {
  state: workflow({
    states: ['shut', 'open'],
    initial: 'shut',
    transitions: {
      open: { from: 'shut', to: 'open', consistency: 'decided' },
      shut: { from: 'open', to: 'shut', consistency: 'decided' },
    },
  }),
}
