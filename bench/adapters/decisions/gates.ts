/** Documents with a gate that opens and shuts, each time by a decision. */
import { defineAdapter } from '../../../core/domain/index.ts'
import { gateFields } from '../gate-fields.ts'

export const gates = defineAdapter({ name: 'gates', version: 1, documents: 'bench/:id', fields: gateFields })
