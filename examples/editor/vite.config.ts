/**
 * `vite examples/editor` for development (with a relay on port 8080 beside it), and what scripts/build-browser.mjs builds.
 *
 * The editor imports `tidemark/client` as any app does; here that is the sources beside it, so that nothing needs to be
 * built before.
 */
import { fileURLToPath } from 'node:url'
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
const relay = 'http://127.0.0.1:8080'

export default defineConfig({
  root: path('.'),
  plugins: [react()],
  resolve: {
    alias: {
      'tidemark/client/react': path('../../client/react/hooks.ts'),
      'tidemark/client/devtools': path('../../client/devtools/panel.ts'),
      'tidemark/client': path('../../client/index.ts'),
    },
    // Two copies of Yjs in one page corrupt documents.
    dedupe: ['yjs', 'react', 'react-dom'],
  },
  build: {
    emptyOutDir: true,
    // Data URLs would need a looser content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: { input: [path('index.html'), path('embed.html')] },
    chunkSizeWarningLimit: 1_000,
  },
  server: { proxy: { '/v1': { target: relay, ws: true } } },
})
