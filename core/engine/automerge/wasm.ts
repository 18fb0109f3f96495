/**
 * Automerge itself, loaded when a document is to be built: 80 ms and 20 MB a thread, which a relay's main thread never needs.
 * So this is the only file that names the package, and its import is dynamic.
 */
type Automerge = typeof import('@automerge/automerge')
/** A document in WebAssembly's memory, which nobody collects: whoever has one frees it. */
export type Handle = ReturnType<Automerge['getBackend']>

let automerge: Automerge | null = null

export async function load(): Promise<void> {
  automerge ??= await import('@automerge/automerge')
}

/** Never throws. What Automerge panicked over stays as it was, and takes its memory until the thread ends. */
export function release(handle: Handle): void {
  try {
    handle.free()
  } catch {
    // It is still borrowed by the call that panicked.
  }
}

export function newHandle(): Handle {
  if (automerge === null) throw new Error('Engine.load was not called')
  return automerge.getBackend(automerge.init())
}
