import { fileURLToPath } from 'node:url'

/** The checkout, with a slash at its end, seen from what is compiled (dist/bench/harness). */
export const root = fileURLToPath(new URL('../../../', import.meta.url))
