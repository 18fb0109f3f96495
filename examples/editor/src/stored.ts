/** A value in local storage that components can watch, also when another tab changes it. */
export interface Stored<Value> {
  get(): Value
  set(value: Value): void
  subscribe(changed: () => void): () => void
}

/** What does not parse, or is not what `accepts` expects, counts as absent. */
export function stored<Value>(
  key: string,
  fallback: Value,
  accepts: (value: unknown) => value is Value,
): Stored<Value> {
  const listeners = new Set<() => void>()
  let [text, value] = ['', fallback]

  const get = (): Value => {
    const now = localStorage.getItem(key) ?? ''
    if (now === text) return value
    text = now
    value = parse(now, fallback, accepts)
    return value
  }
  const tell = (): void => {
    for (const listener of listeners) listener()
  }
  return {
    get,
    set(next) {
      try {
        localStorage.setItem(key, JSON.stringify(next))
      } catch {
        // Full or forbidden: a name or a list of recent documents is not worth an error.
        return
      }
      tell()
    },
    subscribe(changed) {
      listeners.add(changed)
      const elsewhere = (event: StorageEvent): void => {
        if (event.key === key) changed()
      }
      addEventListener('storage', elsewhere)
      return () => {
        listeners.delete(changed)
        removeEventListener('storage', elsewhere)
      }
    },
  }
}

function parse<Value>(text: string, fallback: Value, accepts: (value: unknown) => value is Value): Value {
  try {
    const value: unknown = JSON.parse(text)
    return accepts(value) ? value : fallback
  } catch {
    return fallback // Absent, or written by something else.
  }
}
