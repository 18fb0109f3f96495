/** A page made of one TypeScript file, bundled as an app would bundle it, at an origin of its own. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { build, type Rollup } from 'vite'

export interface TestPage {
  /** http://127.0.0.1:port/ */
  readonly url: string
  close(): Promise<void>
}

const root = fileURLToPath(new URL('../../', import.meta.url))

/** `entry` is a path from the root of the sources. */
export async function serveTestPage(entry: string): Promise<TestPage> {
  const { script, assets } = await bundle(entry)
  const server = createServer((request, response) => {
    const asset = assets.get(request.url ?? '')
    if (asset !== undefined) {
      response.setHeader('content-type', 'application/wasm')
      response.end(asset)
      return
    }
    const isScript = request.url === '/page.js'
    response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html; charset=utf-8')
    response.end(
      isScript
        ? script
        : '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><div id="app"></div><script type="module" src="/page.js"></script>',
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: async () => {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

interface Bundle {
  readonly script: string
  /** WebAssembly, by its path. */
  readonly assets: ReadonlyMap<string, string | Uint8Array>
}

async function bundle(entry: string): Promise<Bundle> {
  const built = await build({
    root,
    configFile: false,
    logLevel: 'error',
    mode: 'production',
    define: { 'process.env.NODE_ENV': '"production"' },
    // Two copies of Yjs in one page corrupt documents.
    resolve: { dedupe: ['yjs', 'react', 'react-dom'] },
    build: {
      write: false,
      minify: false,
      modulePreload: false,
      rollupOptions: { input: `${root}${entry}`, output: { codeSplitting: false } },
    },
  })
  const { output } = built as Rollup.RollupOutput
  const chunk = output.find((part) => part.type === 'chunk' && part.isEntry)
  if (chunk?.type !== 'chunk') throw new Error(`${entry} was not built`)
  const assets = output.flatMap((part): [string, string | Uint8Array][] =>
    part.type === 'asset' && part.fileName.endsWith('.wasm') ? [[`/${part.fileName}`, part.source]] : [],
  )
  return { script: chunk.code, assets: new Map(assets) }
}
