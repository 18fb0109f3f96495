/** Where a program is that npm cannot install, as the tests find it (scripts/programs.mjs). */
import { pathToFileURL } from 'node:url'
import { root } from './root.ts'

interface Programs {
  readonly programs: readonly { readonly label: string; readonly toInstall: string }[]
  findProgram(program: Programs['programs'][number]): { readonly path?: string; readonly reason?: string }
}

/** Its path, or of PostgreSQL the folder of its programs. Throws with what to install. */
export async function programPath(label: string): Promise<string> {
  const { findProgram, programs } = (await import(
    pathToFileURL(`${root}scripts/programs.mjs`).href
  )) as Programs
  const program = programs.find((each) => each.label === label)!
  const { path, reason } = findProgram(program)
  if (path === undefined) throw new Error(`${reason}. Install ${program.toInstall}`)
  return path
}
