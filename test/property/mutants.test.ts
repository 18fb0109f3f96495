/** The changes that must be noticed still change something: sources move on, and a mutant that fits none of them proves nothing. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { mutants } from '../../bench/convergence/mutants.ts'

const root = join(import.meta.dirname, '../..')

test.each(mutants.flatMap(({ name, changes }) => changes.map((change) => ({ name, ...change }))))(
  '$name fits $file',
  ({ file, find, replace }) => {
    const source = readFileSync(join(root, file), 'utf8')
    expect(source.split(find)).toHaveLength(2)
    expect(replace).not.toBe(find)
  },
)
