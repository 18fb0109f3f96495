import * as fs from 'node:fs'

/** Ends the process with a message when this Node is older than package.json asks for. */
export function requireNode() {
  const { engines } = JSON.parse(fs.readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  const complaint = nodeComplaint(process.versions.node, engines.node)
  if (complaint === undefined) return
  console.error(complaint)
  process.exit(1)
}

/** `range` has the form `>=20.19`. Undefined when `version` fits. */
export function nodeComplaint(version, range) {
  const numbers = (text) => text.split('.').map(Number)
  const [wantedMajor, wantedMinor] = numbers(range.replace('>=', ''))
  const [major, minor] = numbers(version)
  if (major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)) return undefined
  return `Tidemark needs Node ${wantedMajor}.${wantedMinor} or newer; this is Node ${version}. See https://nodejs.org/en/download`
}
