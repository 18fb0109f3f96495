/**
 * What SNAPSHOT_STORE may say:
 *
 *   file:/folder                                           also file:///folder and file:relative/folder
 *   s3://bucket/prefix?endpoint=https://host&region=name   prefix and parameters as needed
 *
 * No credentials in it: they would show in process lists and logs.
 */
export interface FileAddress {
  readonly kind: 'file'
  readonly folder: string
}

export interface S3Address {
  readonly kind: 's3'
  readonly bucket: string
  /** '' or a path that ends with `/`. */
  readonly prefix: string
  readonly endpoint?: string
  readonly region?: string
}

/** Null for what is neither. */
export function parseStoreAddress(text: string): FileAddress | S3Address | null {
  if (text.startsWith('file:')) {
    const folder = text.slice('file:'.length).replace(/^\/\/(?=\/)/, '')
    return folder === '' || folder.startsWith('//') ? null : { kind: 'file', folder }
  }
  return parseS3(text)
}

function parseS3(text: string): FileAddress | S3Address | null {
  if (!text.startsWith('s3://') || !URL.canParse(text)) return null
  const url = new URL(text)
  const parameters = [...url.searchParams]
  if (url.username !== '' || url.password !== '' || url.port !== '' || url.hash !== '') return null
  if (!/^[\w.-]+$/.test(url.hostname) || !/^[\w./-]*$/.test(url.pathname)) return null
  if (new Set(parameters.map(([name]) => name)).size < parameters.length) return null
  if (parameters.some(([name, value]) => !/^(endpoint|region)$/.test(name) || value === '')) return null
  const { endpoint, region } = Object.fromEntries(parameters) as { endpoint?: string; region?: string }
  if (endpoint !== undefined && !/^https?:\/\/[^/@]+\/?$/.test(endpoint)) return null
  const path = url.pathname.replace(/^\/+|\/+$/g, '')
  return {
    kind: 's3',
    bucket: url.hostname,
    prefix: path === '' ? '' : `${path}/`,
    ...(endpoint !== undefined && { endpoint }),
    ...(region !== undefined && { region }),
  }
}
