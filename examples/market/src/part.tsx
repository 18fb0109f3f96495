import type { Done } from 'tidemark/client/domain'
import type { Deal, Market } from './market.ts'

/** What each part of a deal is given. */
export interface PartProps {
  readonly deal: Deal
  readonly market: Market
  /** Says why something was not possible; what was is seen. */
  readonly attempt: (done: Done) => void
}

/** Beside what is not sure yet. */
export function Waits({ text = 'Waiting for the server' }: { readonly text?: string }) {
  return <span className="waits">{text}</span>
}
