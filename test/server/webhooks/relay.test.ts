/** Webhooks as a relay runs them: an edit over a WebSocket is announced, also one that a killed relay had no time for. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import * as Y from 'yjs'
import { RawClient } from '../../support/raw-client.ts'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { until } from '../../support/wait.ts'
import { ReceiverUnderTest, secretText } from './receiver-under-test.ts'

async function type(relay: RelayProcess, text: string): Promise<void> {
  const client = await RawClient.connect(`${relay.webSocketUrl}/notes/first?echo=true`)
  const doc = new Y.Doc()
  doc.getText('t').insert(0, text)
  client.sendUpdate(Y.encodeStateAsUpdate(doc))
  // Seen by a reader: durable.
  await until('durable', () => client.doc.getText('t').toString().includes(text))
  client.close()
}

test('an edit is announced; one that was durable when the relay was killed is announced by the next', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  const receiver = new ReceiverUnderTest()
  await receiver.start()
  const start = (debounceMs: string): Promise<RelayProcess> =>
    startRelay({
      DATA_DIR: folder,
      WEBHOOK_URL: receiver.url,
      WEBHOOK_SECRET: secretText,
      WEBHOOK_DEBOUNCE_MS: debounceMs,
    })
  let relay = await start('50')
  try {
    const announces = (): boolean =>
      relay.lines.some((line) => String(line['msg']).includes('this node announces'))
    await until('it announces', announces)
    await type(relay, 'one')
    await receiver.hasHeard('notes/first', 1)
    expect(await relay.stop()).toBe(0)

    relay = await start('3600000')
    await until('it announces', announces)
    await type(relay, 'two')
    await relay.kill9()
    expect(receiver.of('notes/first').at(-1)?.offset).toBe(1)

    relay = await start('50')
    await receiver.hasHeard('notes/first', 2)
    expect(receiver.doubtful).toEqual([])
    expect(JSON.stringify(relay.lines)).not.toMatch(/not-to-be-logged|whsec/)
  } finally {
    await relay.stop()
    await receiver.stop()
    rmSync(folder, { recursive: true })
  }
})
