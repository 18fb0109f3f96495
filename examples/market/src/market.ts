/** What all parts of the page are given: who one is, what is on this device, and the words for what it is about. */
import type { Client } from 'tidemark/client'
import type { Acting } from 'tidemark/client/domain'
import type { OpenDomain } from 'tidemark/client/react/domain'
import type { deals } from '../adapters/fields/deals.ts'
import type { listings } from '../adapters/fields/listings.ts'
import type { Shelf } from './shelf.ts'

export interface Market {
  readonly client: Client
  readonly acting: Acting
  readonly shelf: Shelf
}

export type Deal = OpenDomain<typeof deals>
export type Listing = OpenDomain<typeof listings>

export const isSeller = ({ roles = [] }: Acting): boolean => roles.includes('seller')
