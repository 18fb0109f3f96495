/**
 * A process with an embedded log, or one on Redis, that announces its changes and appends to its documents, until it
 * is killed or has appended `appends` times and is told to end by SIGTERM. It runs on dist/, and writes to stdout,
 * synchronously:
 *
 *   begun                     it announces: whatever is appended from now on
 *   a <document> <offset>     acked
 *   read <sequence>           a change that it has read
 *   ended                     it no longer announces
 *
 * argv: directory, JSON {url, secret, appends, documents, killAtSave?, redisUrl?, debounceMs?, limits?}. Kills itself with SIGKILL right before
 * (`append`) or after (`appended`, `compacted`) the `killAtSave.count`-th write of its position.
 */
import { writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { createEmbeddedLog } from '../../../dist/server/log/lmdb/embedded-log.js'
import { createRedisLog } from '../../../dist/server/log/redis/redis-log.js'
import { secretOf } from '../../../dist/server/webhooks/settings.js'
import { webhooksDocument } from '../../../dist/server/webhooks/term.js'
import { Webhooks } from '../../../dist/server/webhooks/webhooks.js'

const [directory, json] = process.argv.slice(2)
const { url, secret, appends, documents, killAtSave, redisUrl, debounceMs = 10, limits } = JSON.parse(json)

const quiet = () => {}
const report = (line) => writeSync(1, `${line}\n`)
const told = { 'this node announces changes': 'begun', 'this node no longer announces changes': 'ended' }
const info = (_, message) => message in told && report(told[message])
const fail = (fields, message) => writeSync(2, `${message} ${JSON.stringify(fields)}\n`)
const logger = { debug: quiet, info: quiet, warn: fail, error: fail }
const log =
  redisUrl === undefined
    ? createEmbeddedLog({ directory, logger })
    : createRedisLog({ url: redisUrl, logger })
await log.start()

let saves = 0
function maybeKill(step, document) {
  if (document !== webhooksDocument || killAtSave?.step !== step || ++saves < killAtSave.count) return
  process.kill(process.pid, 'SIGKILL')
  for (;;);
}

const watched = {
  load: (...args) => log.load(...args),
  async changes(...args) {
    const changes = await log.changes(...args)
    for (const { sequence } of changes) report(`read ${sequence}`)
    return changes
  },
  lease: (...args) => log.lease(...args),
  async append(document, entries) {
    maybeKill('append', document)
    const appended = await log.append(document, entries)
    maybeKill('appended', document)
    return appended
  },
  async compact(document, ...args) {
    const done = await log.compact(document, ...args)
    maybeKill('compacted', document)
    return done
  },
}
const webhooks = new Webhooks({
  log: watched,
  settings: { url, secret: secretOf(secret), debounceMs, timeoutMs: 5_000, concurrency: 4, replay: 0 },
  // Failures are the test's own: it lets some requests fail.
  logger: { debug: quiet, info, warn: quiet, error: fail },
  metrics: { announced: quiet, watchWebhooks: quiet },
  limits: { pollMs: 2, saveMs: 2, retryMs: 5, retryMsMax: 40, contendMs: 20, ...limits },
})
await webhooks.start()
process.once('SIGTERM', async () => {
  await webhooks.close()
  await log.close()
  process.exit(0)
})

for (let i = 0; i < appends; i++) {
  const document = documents[Math.floor(Math.random() * documents.length)]
  const entry = { timeMs: Date.now(), author: '', origin: 'writer', update: new Uint8Array([i]) }
  const [{ offset }] = await log.append(document, [entry])
  report(`a ${document} ${offset}`)
  if (i % 7 === 0) await sleep(3)
}
