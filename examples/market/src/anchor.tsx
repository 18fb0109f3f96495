import type { MouseEvent, ReactNode } from 'react'
import { goTo, linkTo, type Place } from './place.ts'

interface AnchorProps {
  readonly to: Place
  readonly className?: string
  readonly isCurrent?: boolean
  readonly label?: string
  readonly children: ReactNode
}

/** A plain click stays on the page; all others are the browser's. */
export function Anchor({ to, className, isCurrent = false, label, children }: AnchorProps) {
  const go = (event: MouseEvent): void => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return
    event.preventDefault()
    goTo(to)
  }
  return (
    <a
      href={linkTo(to)}
      className={className}
      aria-current={isCurrent ? 'page' : undefined}
      aria-label={label}
      onClick={go}
    >
      {children}
    </a>
  )
}
