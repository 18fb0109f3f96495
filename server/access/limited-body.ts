/** The body of a fetched answer as text; rejects, and lets the connection go, once it exceeds `bytesMax`. */
export async function limitedBody(response: Response, bytesMax: number): Promise<string> {
  if (response.body === null) return ''
  const chunks: Uint8Array[] = []
  let bytes = 0
  // Leaving the loop by throwing cancels the body.
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    bytes += chunk.length
    if (bytes > bytesMax) throw new Error(`The answer exceeds ${bytesMax} bytes`)
    chunks.push(chunk)
  }
  return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks))
}

/** Why a fetch failed, without what it sent or got. */
export function failureOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown'
  const cause = error.cause instanceof Error ? (error.cause as NodeJS.ErrnoException) : undefined
  return cause === undefined ? error.message : `${error.message}: ${cause.code ?? cause.message}`
}
