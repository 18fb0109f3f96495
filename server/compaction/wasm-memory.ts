/**
 * A bound to the memory of WebAssembly in this thread. V8's limits of a thread do not count it, and a module that declares no
 * maximum, as Automerge's, may grow to 4 GiB. So each module is given one before it is compiled: a number in its memory
 * section. What would grow beyond fails there and then, and with it the task.
 *
 *   module    = "\0asm" version:4 section*
 *   section   = id:1 length:leb contents               -- id 5: memories
 *   memories  = 1:leb flags:leb minimum:leb maximum:leb?   -- in pages of 64 KiB; flags bit 0: there is a maximum
 *
 * Such memory never shrinks, and what failed in the middle of it may be broken: then the thread has to end.
 */
const pageBytes = 65_536
/** That a module of 32 bits may have. */
const pagesMost = 65_536
const headerBytes = 8
const memorySection = 5
/** A thread with more is not kept for the next task. */
const keptBytesMax = 64 * 1024 * 1024

export class WasmMemory {
  private readonly bytesMax: number
  private readonly memories: WebAssembly.Memory[] = []

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
  }

  /** From now on, for all modules that this thread compiles. */
  install(): void {
    const { memories, bytesMax } = this
    const pagesMax = Math.min(pagesMost, Math.floor(bytesMax / pageBytes))
    WebAssembly.Module = new Proxy(WebAssembly.Module, {
      construct: (Module, [bytes]: [ArrayBuffer | Uint8Array<ArrayBuffer>]) =>
        new Module(bytes instanceof Uint8Array ? withMaximum(bytes, pagesMax) : bytes),
    })
    WebAssembly.Instance = new Proxy(WebAssembly.Instance, {
      construct(Instance, given: ConstructorParameters<typeof WebAssembly.Instance>) {
        const instance = new Instance(...given)
        for (const each of Object.values(instance.exports))
          if (each instanceof WebAssembly.Memory) memories.push(each)
        return instance
      },
    })
  }

  private get bytes(): number {
    return this.memories.reduce((sum, { buffer }) => sum + buffer.byteLength, 0)
  }

  /** Of all that it may have. */
  get share(): number {
    return this.bytes / this.bytesMax
  }

  get isLarge(): boolean {
    return this.bytes > keptBytesMax
  }

  /** What was asked for and not there may have been any size: whoever has so much already is taken to have asked for too much. */
  get isNearlyFull(): boolean {
    return this.bytes > this.bytesMax / 4
  }
}

/**
 * Whether it failed in WebAssembly itself, which has no better word for being out of memory. Or after that: wasm-bindgen, which
 * Automerge is bound with, refuses a module that has failed, by these words.
 */
export function isTrap(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause)
    if (at instanceof WebAssembly.RuntimeError || at.message === 'Module terminated') return true
  return false
}

/** The module, whose one memory has no maximum, with this one. Any other module as it is. */
export function withMaximum(module: Uint8Array<ArrayBuffer>, pagesMax: number): Uint8Array<ArrayBuffer> {
  for (let at = headerBytes; at < module.length; ) {
    const [length, start] = readLeb(module, at + 1)
    const end = start + length
    if (module[at] !== memorySection) {
      at = end
      continue
    }
    if (module[start] !== 1 || module[start + 1] !== 0) return module
    const contents = [1, 1, ...module.subarray(start + 2, end), ...leb(pagesMax)]
    const section = [memorySection, ...leb(contents.length), ...contents]
    const bytes = new Uint8Array(at + section.length + module.length - end)
    bytes.set(module.subarray(0, at))
    bytes.set(section, at)
    bytes.set(module.subarray(end), at + section.length)
    return bytes
  }
  return module
}

function readLeb(bytes: Uint8Array, at: number): [value: number, end: number] {
  let value = 0
  for (let shift = 0, end = at; ; shift += 7) {
    const byte = bytes[end++]!
    value += (byte & 0x7f) * 2 ** shift
    if (byte < 0x80) return [value, end]
  }
}

function leb(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...leb(value >>> 7)]
}
