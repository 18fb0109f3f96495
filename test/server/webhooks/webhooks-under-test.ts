/** Webhooks on a real log, with limits so short that nothing has to be waited for, and what they logged. */
import type { DocumentId } from '../../../core/document-id.ts'
import { noOffset } from '../../../core/offset.ts'
import type { Log } from '../../../server/log/log.ts'
import type { Logger } from '../../../server/logger.ts'
import { Metrics } from '../../../server/metrics.ts'
import { secretOf } from '../../../server/webhooks/settings.ts'
import { Webhooks, type WebhooksLimits } from '../../../server/webhooks/webhooks.ts'
import { entryOf } from '../../contract/log-model.ts'
import { type ReceiverUnderTest, secretText } from './receiver-under-test.ts'

export interface Choices {
  readonly log: Log
  readonly receiver: ReceiverUnderTest
  readonly debounceMs?: number
  readonly timeoutMs?: number
  readonly concurrency?: number
  readonly replay?: number
  readonly limits?: Partial<WebhooksLimits>
}

export const quickLimits: Partial<WebhooksLimits> = {
  contendMs: 20,
  pollMs: 5,
  saveMs: 10,
  retryMs: 5,
  retryMsMax: 40,
}

export interface WebhooksUnderTest {
  readonly webhooks: Webhooks
  readonly metrics: Metrics
  /** `level message fields`. */
  readonly lines: string[]
  /** Of tidemark_webhook_deliveries_total. */
  count(result: string): Promise<number>
}

export function webhooksOn({ log, receiver, limits, ...choices }: Choices): WebhooksUnderTest {
  const metrics = new Metrics()
  const lines: string[] = []
  const secret = secretOf(secretText)
  if (secret === null) throw new Error('the secret is too short')
  const settings = { debounceMs: 20, timeoutMs: 5_000, concurrency: 8, replay: 0, ...choices }
  const webhooks = new Webhooks({
    log,
    settings: { ...settings, url: receiver.url, secret },
    logger: loggerTo(lines),
    metrics,
    limits: { ...quickLimits, ...limits },
  })
  return {
    webhooks,
    metrics,
    lines,
    async count(result) {
      const metric = await metrics.registry.getSingleMetric('tidemark_webhook_deliveries_total')?.get()
      return metric?.values.find(({ labels }) => labels['result'] === result)?.value ?? 0
    },
  }
}

function loggerTo(lines: string[]): Logger {
  const at = (level: string) => (fields: object, message: string) =>
    void lines.push(`${level} ${message} ${JSON.stringify(fields)}`)
  return { error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug') }
}

/** Appends one update; gives its offset. */
export async function change(log: Log, document: DocumentId, text = 'x'): Promise<number> {
  const [appended] = await log.append(document, [entryOf(text)])
  return appended?.offset ?? noOffset
}
