/**
 * Everything the environment can set, with its default, unit and what it accepts: the only file that
 * reads the environment. An invalid value stops the start with the variable's name and what it takes.
 * docs/operations.md shows the same list.
 */
import { z } from 'zod'
import { algorithms, contradictionsIn, originOf } from './access/settings.ts'
import { areAddresses } from './gateway/request.ts'
import { parseStoreAddress } from './log/cold/store-address.ts'
import { isRedisAddress, meansSentinels, sentinelForm } from './log/redis/address.ts'
import { secretOf, webhooksContradictionsIn } from './webhooks/settings.ts'

const wholeNumber = (min: number, max: number, fallback: number) =>
  z
    .string()
    .regex(/^\d+$/, `a whole number from ${min} to ${max}`)
    .transform(Number)
    .refine((value) => value >= min && value <= max, `a whole number from ${min} to ${max}`)
    .default(fallback)

// `fetch` takes no credentials in a URL.
const webAddress = z
  .string()
  .refine(
    (value) => /^https?:\/\/[^/?#@]+([/?]|$)/.test(value) && URL.canParse(value),
    'an http:// or https:// URL',
  )

const databaseAddress = z
  .string()
  .refine(
    (value) => /^postgres(ql)?:\/\//.test(value) && URL.canParse(value),
    'a postgres:// or postgresql:// URL',
  )

const listOf = (value: string): string[] => value.split(',').map((part) => part.trim())

const kib = 1024
const mib = 1024 * kib

const schema = z.object({
  HOST: z.string().min(1, 'an address or host name to listen on').default('127.0.0.1'),
  PORT: wholeNumber(0, 65_535, 8080),
  DATA_DIR: z.string().min(1, 'a folder').default('./data'),
  REDIS_URL: z
    .string()
    .refine(isRedisAddress, {
      error: ({ input }) =>
        meansSentinels(String(input))
          ? `${sentinelForm}, database 0`
          : 'a redis:// or rediss:// URL with database 0, or a URL of Sentinels',
    })
    .optional(),
  LOG_LEVEL: z
    .enum(['silent', 'error', 'warn', 'info', 'debug'], 'one of silent, error, warn, info, debug')
    .default('info'),
  UPDATE_BYTES_MAX: wholeNumber(kib, 1024 * mib, 32 * mib),
  DOCUMENT_BYTES_MAX: wholeNumber(kib, 16 * 1024 * mib, 256 * mib),
  SESSIONS_MAX: wholeNumber(1, 1_000_000, 20_000),
  SESSIONS_PER_ADDRESS_MAX: wholeNumber(1, 1_000_000, 5_000),
  SESSIONS_PER_USER_MAX: wholeNumber(1, 1_000_000, 200),
  HANDSHAKES_MAX: wholeNumber(1, 1_000_000, 2_000),
  FIRST_MESSAGE_MS_MAX: wholeNumber(1_000, 3_600_000, 15_000),
  LOOP_LAG_MS_MAX: wholeNumber(10, 60_000, 1_000),
  ROOMS_MAX: wholeNumber(1, 1_000_000, 20_000),
  SESSION_MESSAGES_PER_SECOND_MAX: wholeNumber(1, 100_000_000, 10_000),
  SESSION_BYTES_PER_SECOND_MAX: wholeNumber(kib, 16 * 1024 * mib, 16 * mib),
  SESSION_BUFFER_BYTES_MAX: wholeNumber(64 * kib, 1024 * mib, mib),
  SESSION_UNACKED_BYTES_MAX: wholeNumber(kib, 1024 * mib, mib),
  AWARENESS_BYTES_MAX: wholeNumber(kib, 16 * mib, 256 * kib),
  AWARENESS_CLIENTS_MAX: wholeNumber(1, 100_000, 100),
  ROOM_LINGER_MS: wholeNumber(0, 3_600_000, 10_000),
  IMAGE_BYTES_MAX: wholeNumber(mib, 64 * 1024 * mib, 256 * mib),
  COMPACTION_THREADS: wholeNumber(1, 64, 1),
  COMPACTION_TAIL_BYTES_MAX: wholeNumber(kib, 1024 * mib, 256 * kib),
  COMPACTION_TAIL_COUNT_MAX: wholeNumber(2, 10_000_000, 1_000),
  COMPACTION_AGE_SECONDS_MAX: wholeNumber(1, 31_536_000, 600),
  COMPACTION_IDLE_COUNT_MIN: wholeNumber(1, 10_000_000, 16),
  COMPACTION_INTERVAL_MS: wholeNumber(0, 3_600_000, 2_000),
  COMPACTION_MEMORY_MB: wholeNumber(64, 65_536, 4096),
  COMPACTION_NEWCOMER_MS: wholeNumber(0, 60_000, 300),
  READ_THREADS: wholeNumber(1, 64, 1),
  TRUSTED_PROXIES: z
    .string()
    .transform(listOf)
    .refine(areAddresses, 'addresses or networks such as 10.0.0.0/8, or loopback, separated by commas')
    .optional(),
  // Access
  JWT_SECRET: z
    .string()
    .refine((value) => Buffer.byteLength(value) >= 32, 'at least 32 bytes')
    .optional(),
  JWT_JWKS_URL: webAddress.optional(),
  JWT_ALGORITHMS: z
    .string()
    .transform(listOf)
    .refine((list) => list.every((name) => algorithms.includes(name)), `some of ${algorithms.join(', ')}`)
    .optional(),
  JWT_ISSUER: z.string().optional(),
  JWT_AUDIENCE: z.string().optional(),
  JWT_CLOCK_TOLERANCE_SECONDS: wholeNumber(0, 300, 5),
  AUTHORIZE_URL: webAddress.optional(),
  AUTHORIZE_CACHE_SECONDS: wholeNumber(1, 3_600, 30),
  AUTHORIZE_TIMEOUT_MS: wholeNumber(100, 60_000, 3_000),
  ALLOW_UNAUTHENTICATED: z
    .enum(['true', 'false'], 'true or false')
    .transform((value) => value === 'true')
    .default(false),
  ALLOWED_ORIGINS: z
    .string()
    .transform((value) => listOf(value).map(originOf))
    .refine(
      (list): list is string[] => list.every((origin) => origin !== null),
      'origins such as https://example.com, separated by commas, or an asterisk for all',
    )
    .optional(),
  REVOCATION_DAYS: wholeNumber(1, 3_650, 30),
  // Webhooks
  WEBHOOK_URL: webAddress.optional(),
  WEBHOOK_SECRET: z
    .string()
    .refine((value) => secretOf(value) !== null, 'at least 24 bytes as whsec_ and base64, or as plain text')
    .optional(),
  WEBHOOK_DEBOUNCE_MS: wholeNumber(0, 3_600_000, 2_000),
  WEBHOOK_TIMEOUT_MS: wholeNumber(100, 60_000, 10_000),
  WEBHOOK_CONCURRENCY: wholeNumber(1, 1_000, 8),
  WEBHOOK_REPLAY: wholeNumber(0, 1_000_000_000, 0),
  // Cold documents
  SNAPSHOT_STORE: z
    .string()
    .refine((value) => parseStoreAddress(value) !== null, 'file: and a folder, or s3:// and a bucket')
    .optional(),
  COLD_AFTER_SECONDS: wholeNumber(1, 315_360_000, 604_800),
  COLD_SWEEP_SECONDS: wholeNumber(1, 86_400, 300),
  COLD_KEEP_SECONDS: wholeNumber(300, 315_360_000, 604_800),
  // The tidemark.v1 door
  DOCUMENTS_PER_SOCKET_MAX: wholeNumber(1, 100_000, 1_000),
  // Views
  ADAPTERS: z.string().default('./adapters'),
  DATABASE_URL: databaseAddress.optional(),
  DATABASE_CONNECTIONS_MAX: wholeNumber(2, 1_000, 8),
  VIEWS_MEMORY_MB: wholeNumber(128, 65_536, 1024),
  VIEWS_PORT: wholeNumber(0, 65_535, 0),
  // Queries
  DATABASE_READER_URL: databaseAddress.optional(),
  VIEWS_QUERY_TIMEOUT_MS: wholeNumber(100, 600_000, 10_000),
  VIEWS_QUERY_ROWS_MAX: wholeNumber(1, 100_000, 1_000),
  VIEWS_QUERY_BYTES_MAX: wholeNumber(kib, 256 * mib, 8 * mib),
  VIEWS_QUERIES_MAX: wholeNumber(1, 1_000, 8),
  VIEWS_QUERIES_PER_USER_MAX: wholeNumber(1, 1_000, 8),
  VIEWS_AFTER_TIMEOUT_MS: wholeNumber(0, 600_000, 5_000),
  // Live queries
  VIEWS_LIVE_MAX: wholeNumber(0, 100_000, 1_000),
  // The automerge-repo door
  AUTOMERGE_PREFIX: z
    .string()
    .regex(/^([\w-]{1,64}\/){1,4}$/, 'a path that ends with a slash')
    .optional(),
  // Replicas of Redis
  REDIS_REPLICAS: wholeNumber(0, 16, 0),
})

export type Config = z.infer<typeof schema>

export class ConfigError extends Error {}

/** Throws `ConfigError` with one line for each invalid variable. */
export function readConfig(environment: NodeJS.ProcessEnv = process.env): Config {
  // An empty variable means "not set", as compose files and shells write it.
  const set = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''))
  const parsed = schema.safeParse(set)
  if (parsed.success) {
    const contradictions = [...contradictionsIn(parsed.data), ...webhooksContradictionsIn(parsed.data)]
    if (contradictions.length > 0) throw new ConfigError(contradictions.join('\n'))
    return parsed.data
  }
  const lines = parsed.error.issues.map((issue) => {
    const name = issue.path.join('.')
    const value = secrets.includes(name) ? '…' : JSON.stringify(set[name])
    return `${name}=${value} is not valid: ${name} takes ${issue.message}`
  })
  throw new ConfigError(lines.join('\n'))
}

/** Never shown, not even to say what is wrong with them: they are, or may contain, passwords. */
const secrets = [
  'REDIS_URL',
  'DATABASE_URL',
  'DATABASE_READER_URL',
  'SNAPSHOT_STORE',
  'JWT_SECRET',
  'AUTHORIZE_URL',
  'WEBHOOK_URL',
  'WEBHOOK_SECRET',
]
