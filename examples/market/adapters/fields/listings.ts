/** What a listing says: a harvest, and what its sellers ask for it. Sellers write it, dealers read it: their tokens say so. */
import { multiValue } from 'tidemark/fields'

const isText = (value: unknown): boolean =>
  typeof value === 'string' && value.trim() !== '' && value.length <= 200
export const isPrice = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= 1_000_000

export const listings = {
  fields: {
    harvest: multiValue<string>(isText),
    /** Per tonne. Of two who change it apart from one another, both are kept until somebody chooses. */
    asking: multiValue<number>(isPrice),
    storage: multiValue<string>(isText),
  },
}
