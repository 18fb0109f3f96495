/// <reference lib="dom" />
/** IndexedDB's requests and transactions as promises. Promises that settle in a request's event keep its transaction alive. */

/** A database that another tab holds in an older version, or does not let go of, is waited for so long. */
const blockedMsMax = 5_000

export function onRequest<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(why(request))
  })
}

/** Resolves when it is committed. */
export function onTransaction(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve()
    transaction.onabort = () => reject(why(transaction))
  })
}

export function openDatabase(
  factory: IDBFactory,
  name: string,
  version: number,
  upgrade: (database: IDBDatabase) => void,
): Promise<IDBDatabase> {
  const request = factory.open(name, version)
  request.onupgradeneeded = () => upgrade(request.result)
  return withinTime(request, (database) => database.close())
}

export async function removeDatabase(factory: IDBFactory, name: string): Promise<void> {
  await withinTime(factory.deleteDatabase(name), () => undefined)
}

function withinTime<T>(request: IDBOpenDBRequest & IDBRequest<T>, tooLate: (result: T) => void): Promise<T> {
  const opening = onRequest<T>(request)
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new Error('another tab blocks the database'))
      opening.then(tooLate, () => undefined) // Nobody waits for it any more.
    }, blockedMsMax)
    opening.finally(() => clearTimeout(timer)).then(resolve, reject)
  })
}

function why({ error }: { readonly error: DOMException | null }): Error {
  return error ?? new Error('IndexedDB failed')
}
