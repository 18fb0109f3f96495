/** Light, dark, or as the device prefers. */
import { useSyncExternalStore } from 'react'
import { stored } from './stored.ts'

export const themes = ['device', 'light', 'dark'] as const
export type Theme = (typeof themes)[number]

const theme = stored<Theme>('tidemark.editor.theme', 'device', (value): value is Theme =>
  themes.includes(value as Theme),
)

export function useTheme(): [Theme, (next: Theme) => void] {
  return [useSyncExternalStore(theme.subscribe, theme.get), theme.set]
}

/** Keeps the page as chosen, also when another tab chooses. */
export function applyTheme(): void {
  const apply = (): void => {
    const chosen = theme.get()
    if (chosen === 'device') delete document.documentElement.dataset['theme']
    else document.documentElement.dataset['theme'] = chosen
  }
  theme.subscribe(apply)
  apply()
}
