import { useEffect, useState } from 'react'
import type { DocumentStatus } from 'tidemark/client/react'
import { type Badge, badgeOf } from './badge.ts'
import { Icon, type IconName } from './icon.tsx'

const icons: Readonly<Record<Badge['tone'], IconName>> = {
  good: 'check',
  busy: 'clock',
  away: 'away',
  bad: 'alert',
  quiet: 'eye',
}
/** Between two keystrokes everything is saved for a moment; nobody could read that. */
const settleMs = 500

export function SavedBadge({ status }: { readonly status: DocumentStatus }) {
  const { tone, text } = useSettled(badgeOf(status))
  return (
    <output className="badge" data-tone={tone} data-pending={status.pending} aria-live="polite">
      <Icon name={icons[tone]} />
      <span>{text}</span>
    </output>
  )
}

/** Good news comes a little late, all other at once. */
function useSettled(badge: Badge): Badge {
  const [shown, setShown] = useState(badge)
  const [isSettled, setIsSettled] = useState(badge.tone === 'good')
  useEffect(() => {
    if (badge.tone !== 'good') {
      setIsSettled(false)
      return
    }
    const settled = setTimeout(() => setIsSettled(true), settleMs)
    return () => clearTimeout(settled)
  }, [badge.tone])
  const next = badge.tone !== 'good' || isSettled ? badge : shown
  if (next.tone !== shown.tone || next.text !== shown.text) setShown(next)
  return next
}
