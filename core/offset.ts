/** An update's place in its document's log: contiguous from 1. 0 stands for "before the first". */
declare const brand: unique symbol
export type Offset = number & { readonly [brand]: 'Offset' }

export const noOffset = 0 as Offset

export function toOffset(value: number): Offset {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`not an offset: ${value}`)
  return value as Offset
}
