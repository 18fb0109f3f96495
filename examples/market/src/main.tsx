import '@fontsource-variable/inter/wght.css'
import '@fontsource-variable/source-serif-4/wght.css'
import '../../editor/src/style/base.css'
import '../../editor/src/style/parts.css'
import './style/frame.css'
import './style/deal.css'
import './style/inbox.css'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { acquireActor } from 'tidemark/client/domain'
import { Failure } from '../../editor/src/failure.tsx'
import { startSession } from '../../editor/src/session.ts'
import { applyTheme } from '../../editor/src/theme.ts'
import { App } from './app.tsx'
import { Shelf } from './shelf.ts'

applyTheme()
const { client, user, roles } = startSession()
const { actor } = await acquireActor(`${location.origin} ${user}`)
const acting = { actor, subject: user, roles }

createRoot(document.getElementById('app')!).render(
  <StrictMode>
    <Failure>
      <App market={{ client, acting, shelf: new Shelf(client, acting) }} />
    </Failure>
  </StrictMode>,
)
