/** What the views say of a document, at every moment and at the end. */
import pg from 'pg'
import type { Content } from './clients/replica.ts'
import type { Observer } from './observer.ts'
import type { Oracle } from './oracle.ts'
import type { Timeline } from './timeline.ts'
import type { World } from './world.ts'

export class ViewsWatch {
  static async start(_url: string, _document: string, _oracle: Oracle): Promise<ViewsWatch> {
    void pg
    return new ViewsWatch()
  }
  async close(): Promise<void> {}
}

export async function checkViews(
  _world: World,
  _watch: ViewsWatch,
  _observer: Observer,
  _content: Content,
  _timeline: Timeline,
): Promise<void> {}
