/** The built relay over an embedded log with the limits in LOG_LIMITS, which the product does not read from anywhere. */
const load = (path) => import(new URL(`../../dist/server/${path}`, import.meta.url).href)
const [{ readConfig }, { createEmbeddedLog }, { Server }] = await Promise.all(
  ['config.js', 'log/lmdb/embedded-log.js', 'server.js'].map(load),
)

const say = (level) => (detail, msg) => process.stdout.write(`${JSON.stringify({ level, msg, ...detail })}\n`)
const debug = process.env.LOG_LEVEL === 'debug' ? say('debug') : () => undefined
const logger = { error: say('error'), warn: say('warn'), info: say('info'), debug }
const config = readConfig()
const limits = JSON.parse(process.env.LOG_LIMITS ?? '{}')
const server = new Server(
  config,
  createEmbeddedLog({ directory: config.DATA_DIR, logger, ...limits }),
  logger,
)
const url = await server.start()
process.on('SIGTERM', () => void server.close().then(() => process.exit(0)))
logger.info({ url }, 'listening')
