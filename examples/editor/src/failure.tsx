import { Component, type ReactNode } from 'react'

/** What an error while drawing leaves: a sentence and a way on, never an empty page. */
export class Failure extends Component<{ readonly children: ReactNode }, { readonly error: Error | null }> {
  override state: { error: Error | null } = { error: null }

  static getDerivedStateFromError(error: unknown): { error: Error } {
    return { error: error instanceof Error ? error : new Error(String(error)) }
  }

  override render(): ReactNode {
    const { error } = this.state
    if (error === null) return this.props.children
    return (
      <main className="welcome" role="alert">
        <h1>This did not work</h1>
        <p>{error.message}</p>
        <p>
          <a className="button primary" href="/">
            All documents
          </a>
        </p>
      </main>
    )
  }
}
