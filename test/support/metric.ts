/** The value of `tidemark_<name>` at a relay's /metrics. */
export async function metric(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text()
  const found = new RegExp(`^tidemark_${name} ([\\d.e+]+)$`, 'm').exec(text)
  if (found === null) throw new Error(`no metric tidemark_${name}`)
  return Number(found[1])
}
