/**
 * Who one is in facts: an actor of this browser, which no other tab is at the same time.
 *
 * Rights (to sell, to take) belong to an actor, so a device that comes back should be the one it was. Its actors are remembered,
 * by user, and a tab takes the first that no other tab has, under a lock that ends with the tab; another one is made when all
 * are taken. Two tabs with one actor would write two facts of one number, and the second is refused.
 *
 * Where there are no locks (Node, old browsers) or nothing is remembered, one is made each time: give `openDomain` an actor
 * that you keep yourself.
 */
import { actorLength, isActor } from '../../core/domain/facts/fact.ts'

export interface Acquired {
  readonly actor: string
  /** Another tab may be it then. Ends with the page anyway. */
  release(): void
}

/** What is needed of a browser. */
export interface ActorPlace {
  readonly locks?: Pick<LockManager, 'request'>
  readonly storage?: Pick<globalThis.Storage, 'getItem' | 'setItem'>
}

const actorsMax = 100

/** `scope`: of server and user, so that nobody is somebody else's actor. */
export async function acquireActor(scope: string, place: ActorPlace = hereOf()): Promise<Acquired> {
  const { locks, storage } = place
  if (locks === undefined || storage === undefined) return { actor: newActor(), release: () => undefined }
  const name = `tidemark:actors:${scope}`
  const remembered = read(storage, name)
  for (const actor of remembered) {
    const release = await lock(locks, `${name}:${actor}`)
    if (release !== null) return { actor, release }
  }
  const actor = newActor()
  const release = await lock(locks, `${name}:${actor}`)
  // Read again: another tab may have added one meanwhile.
  write(storage, name, [...read(storage, name), actor].slice(-actorsMax))
  return { actor, release: release ?? (() => undefined) }
}

function newActor(): string {
  const letters = 'abcdefghijklmnopqrstuvwxyz0123456789'
  // 36 divides 252: the higher ones would make some letters likelier.
  let actor = ''
  while (actor.length < actorLength)
    for (const byte of crypto.getRandomValues(new Uint8Array(8)))
      if (byte < 252 && actor.length < actorLength) actor += letters[byte % 36]
  return actor
}

/** Null: somebody else has it. */
function lock(locks: Pick<LockManager, 'request'>, name: string): Promise<(() => void) | null> {
  return new Promise((resolve) => {
    const held = locks.request(name, { ifAvailable: true }, (granted) => {
      if (granted === null) {
        resolve(null)
        return
      }
      return new Promise<void>((release) => resolve(() => release()))
    })
    // Locks can be forbidden, in a frame say.
    Promise.resolve(held).catch(() => resolve(null))
  })
}

function read(storage: Pick<globalThis.Storage, 'getItem'>, name: string): string[] {
  try {
    const stored: unknown = JSON.parse(storage.getItem(name) ?? '[]')
    return Array.isArray(stored) ? stored.filter((each) => typeof each === 'string' && isActor(each)) : []
  } catch {
    // Nothing that could be used: as if there were none.
    return []
  }
}

function write(storage: Pick<globalThis.Storage, 'setItem'>, name: string, actors: readonly string[]): void {
  try {
    storage.setItem(name, JSON.stringify(actors))
  } catch {
    // Full or forbidden: this actor is for this page only.
  }
}

function hereOf(): ActorPlace {
  try {
    const { navigator, localStorage } = globalThis as Partial<typeof globalThis>
    return {
      ...(navigator?.locks !== undefined && { locks: navigator.locks }),
      ...(localStorage !== undefined && { storage: localStorage }),
    }
  } catch {
    // Reading `localStorage` throws where it is forbidden.
    return {}
  }
}
