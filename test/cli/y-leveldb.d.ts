/** Its types are there, but its exports do not lead to them. */
declare module 'y-leveldb' {
  export class LeveldbPersistence {
    constructor(path: string)
    storeUpdate(name: string, update: Uint8Array): Promise<number>
    flushDocument(name: string): Promise<void>
    setMeta(name: string, key: string, value: unknown): Promise<void>
    destroy(): Promise<void>
  }
}
