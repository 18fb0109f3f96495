import { isSeller } from './market.ts'
import { type PartProps, Waits } from './part.tsx'
import { Value } from './value.tsx'
import { nameOf, shown, who } from './words.ts'

/** What is agreed beside the price, and whose word that is. */
export function Agreement({ deal, market, attempt }: PartProps) {
  const { delivery, holder } = deal.fields
  const { subject } = market.acting
  const held = holder.value.holder
  const expected = holder.expected.holder
  const isMine = expected === subject
  const sellers = [...new Set(deal.domain.actors().values())].filter(
    (each) =>
      each !== subject && !deal.fields.bids.value.offers.some(({ bidder }) => bidder.subject === each),
  )
  const mine = holder.value.proposals.filter((proposal) => proposal.subject === subject && held !== subject)
  return (
    <section className="part" aria-label="Agreement">
      <h2>Agreement</h2>
      <dl>
        <Value
          field="delivery"
          value={delivery.value}
          mayEdit={isSeller(market.acting)}
          verb={isMine || expected === null ? 'Change' : 'Propose another'}
          onSet={(value) => attempt(delivery.do.set(value))}
        />
        {mine.map(({ key, payload }) => (
          <div key={key}>
            <dt>Your proposal</dt>
            <dd>
              {shown('delivery', (payload as { value?: unknown } | null)?.value)}
              <Waits text={`Waiting for ${nameOf(held)}`} />
            </dd>
          </div>
        ))}
        <div>
          <dt>Held by</dt>
          <dd>
            {expected === null ? 'nobody' : who(expected, subject)}
            {held !== expected && <Waits />}
            {isSeller(market.acting) && !isMine && (
              <button type="button" className="plain" onClick={() => attempt(take())}>
                Take it over
              </button>
            )}
            {isMine &&
              sellers.map((each) => (
                <button
                  key={each}
                  type="button"
                  className="plain"
                  onClick={() => attempt(holder.do.handOver(each))}
                >
                  Hand to {nameOf(each)}
                </button>
              ))}
          </dd>
        </div>
      </dl>
    </section>
  )

  function take() {
    return holder.do.handOver(subject, { subject, roles: market.acting.roles ?? [] })
  }
}
