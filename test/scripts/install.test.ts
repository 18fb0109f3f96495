import { expect, test } from 'vitest'
import { missingPackages } from '../../scripts/install.mjs'
import { nodeComplaint } from '../../scripts/node-version.mjs'

const platform = { os: 'linux', cpu: 'x64', libc: 'glibc' }
const locked = {
  '': { version: '0.1.0' },
  'node_modules/ws': { version: '8.0.0' },
  'node_modules/tool': { version: '1.0.0', dev: true },
  'node_modules/binary-linux': {
    version: '1.0.0',
    optional: true,
    os: ['linux'],
    cpu: ['x64'],
    libc: ['glibc'],
  },
  'node_modules/binary-musl': {
    version: '1.0.0',
    optional: true,
    os: ['linux'],
    cpu: ['x64'],
    libc: ['musl'],
  },
  'node_modules/binary-mac': { version: '1.0.0', optional: true, os: ['darwin'], cpu: ['arm64'] },
  'node_modules/anything': { version: '1.0.0', optional: true },
}
const complete = {
  'node_modules/ws': { version: '8.0.0' },
  'node_modules/tool': { version: '1.0.0' },
  'node_modules/binary-linux': { version: '1.0.0' },
}
const without = (name: string) =>
  Object.fromEntries(Object.entries(complete).filter(([path]) => !path.endsWith(name)))

test.each([
  ['nothing is missing from a complete installation', complete, []],
  [
    'everything is missing from none',
    {},
    ['node_modules/ws', 'node_modules/tool', 'node_modules/binary-linux'],
  ],
  [
    'an older version is missing',
    { ...complete, 'node_modules/ws': { version: '7.0.0' } },
    ['node_modules/ws'],
  ],
  ['development dependencies are wanted', without('tool'), ['node_modules/tool']],
  ['the binary for this platform is wanted', without('binary-linux'), ['node_modules/binary-linux']],
])('%s', (_, installed, missing) => {
  expect(missingPackages(locked, installed, platform)).toEqual(missing)
})

test('a Node that is too old is told what is needed', () => {
  for (const version of ['18.20.8', '20.18.1', '6.17.1']) {
    expect(nodeComplaint(version, '>=20.19')).toMatch(`needs Node 20.19 or newer; this is Node ${version}`)
  }
  for (const version of ['20.19.0', '20.20.2', '22.0.0', '24.1.0'])
    expect(nodeComplaint(version, '>=20.19')).toBeUndefined()
})
