/** What a relay's page of metrics says: the sum over all labels of one name, 0 when there is none. */
export async function metricOf(metricsUrl: string, name: string): Promise<number> {
  const response = await fetch(metricsUrl)
  let sum = 0
  for (const line of (await response.text()).split('\n')) {
    const [, value] = line.startsWith(name) ? (/^\w+(?:\{.*\})? (\S+)$/.exec(line) ?? []) : []
    if (value !== undefined && /^\w+/.exec(line)![0] === name) sum += Number(value)
  }
  return sum
}
