/** Typed events. A listener that throws is reported, and keeps nobody else from hearing. */
type Listener = (...args: never[]) => void

export class Emitter<Events extends { [Name in keyof Events]: Listener }> {
  readonly #listeners = new Map<keyof Events, Set<Listener>>()

  on<Name extends keyof Events>(name: Name, listener: Events[Name]): () => void {
    const set = this.#listeners.get(name) ?? new Set()
    this.#listeners.set(name, set.add(listener))
    return () => this.off(name, listener)
  }

  off<Name extends keyof Events>(name: Name, listener: Events[Name]): void {
    this.#listeners.get(name)?.delete(listener)
  }

  emit<Name extends keyof Events>(name: Name, ...args: Parameters<Events[Name]>): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])])
      try {
        ;(listener as (...args: Parameters<Events[Name]>) => void)(...args)
      } catch (error) {
        console.error('Tidemark listener', error)
      }
  }
}
