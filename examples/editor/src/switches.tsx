import { useSyncExternalStore } from 'react'
import type { Client } from 'tidemark/client'
import { Icon, type IconName } from './icon.tsx'
import { switchOffline } from './session.ts'
import { type Theme, themes, useTheme } from './theme.ts'

export function OfflineSwitch({ client }: { readonly client: Client }) {
  const isOffline = useSyncExternalStore(
    // Whoever is offline already keeps that status; only the log says that it is now on purpose.
    (changed) => client.on('event', changed),
    () => client.paused,
  )
  const label = isOffline ? 'Go online' : 'Work offline'
  return (
    <button
      type="button"
      className="icon"
      role="switch"
      aria-checked={isOffline}
      aria-label="Work offline"
      title={label}
      onClick={() => switchOffline(client, !isOffline)}
    >
      <Icon name={isOffline ? 'away' : 'online'} />
    </button>
  )
}

const themeIcons: Readonly<Record<Theme, IconName>> = { device: 'device', light: 'sun', dark: 'moon' }
const themeNames: Readonly<Record<Theme, string>> = { device: 'as the device', light: 'light', dark: 'dark' }

export function ThemeSwitch() {
  const [theme, setTheme] = useTheme()
  const next = themes[(themes.indexOf(theme) + 1) % themes.length] ?? 'device'
  const label = `Colours: ${themeNames[theme]}`
  return (
    <button type="button" className="icon" aria-label={label} title={label} onClick={() => setTheme(next)}>
      <Icon name={themeIcons[theme]} />
    </button>
  )
}
