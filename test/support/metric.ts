/** The value of `tidemark_<name>` at a relay's /metrics; labels are part of the name. */
export async function metric(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text()
  const line = text.split('\n').find((line) => line.startsWith(`tidemark_${name} `))
  if (line === undefined) throw new Error(`no metric tidemark_${name}`)
  return Number(line.slice(line.lastIndexOf(' ')))
}
