import '@fontsource-variable/inter/wght.css'
import '@fontsource-variable/source-serif-4/wght.css'
import './style/base.css'
import './style/parts.css'
import './style/frame.css'
import './style/document.css'
import './style/overview.css'
import './style/prose.css'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { App } from './app.tsx'
import { Failure } from './failure.tsx'
import { showsDevtools } from './place.ts'
import { startSession } from './session.ts'
import { applyTheme } from './theme.ts'

applyTheme()
const session = startSession()

// Edits that are neither on the server nor on this device's disk end with the page.
addEventListener('beforeunload', (event) => {
  const { documents } = session.client.inspect()
  if (documents.some(({ pending, storage }) => pending > 0 && storage === 'memory')) event.preventDefault()
})

createRoot(document.getElementById('app')!).render(
  <StrictMode>
    <Failure>
      <App session={session} />
    </Failure>
  </StrictMode>,
)

if (showsDevtools()) {
  const { mountDevtools } = await import('tidemark/client/devtools')
  mountDevtools(session.client)
}
