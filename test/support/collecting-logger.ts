import type { Logger } from '../../server/logger.ts'

export interface CollectingLogger extends Logger {
  readonly lines: { readonly level: string; readonly fields: object; readonly message: string }[]
}

/** A logger that keeps what it is given, for tests to look at. */
export function collectingLogger(): CollectingLogger {
  const lines: CollectingLogger['lines'] = []
  const at = (level: string) => (fields: object, message: string) => {
    lines.push({ level, fields, message })
  }
  return { lines, error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug') }
}
