/**
 * `vite examples/market` for development (with a relay on port 8080 beside it), and what scripts/build-browser.mjs builds. As in
 * examples/editor, from which its colours, type and icons are, `tidemark/…` is the sources beside it.
 */
import { fileURLToPath } from 'node:url'
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
const relay = 'http://127.0.0.1:8080'

export default defineConfig({
  root: path('.'),
  base: '/market/',
  plugins: [react()],
  resolve: {
    alias: {
      'tidemark/client/react/domain': path('../../client/react/domain.ts'),
      'tidemark/client/react': path('../../client/react/hooks.ts'),
      'tidemark/client/domain': path('../../client/domain/index.ts'),
      'tidemark/client': path('../../client/index.ts'),
      'tidemark/fields': path('../../core/domain/kinds/index.ts'),
    },
    // Two copies of Yjs in one page corrupt documents.
    dedupe: ['yjs', 'react', 'react-dom'],
  },
  build: {
    emptyOutDir: true,
    // Data URLs would need a looser content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1_000,
  },
  server: { proxy: { '/v1': { target: relay, ws: true } } },
})
