import type { MouseEvent, ReactNode } from 'react'
import { follow } from './place.ts'

interface AnchorProps {
  /** A link of this app. */
  readonly to: string
  readonly className?: string
  readonly isCurrent?: boolean
  readonly onGo?: () => void
  readonly children: ReactNode
}

/** A plain click stays on the page; all others are the browser's. */
export function Anchor({ to, className, isCurrent = false, onGo, children }: AnchorProps) {
  const go = (event: MouseEvent): void => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return
    event.preventDefault()
    follow(to)
    onGo?.()
  }
  return (
    <a href={to} className={className} aria-current={isCurrent ? 'page' : undefined} onClick={go}>
      {children}
    </a>
  )
}
