/** What `/metrics` answered. */
export interface MetricsText {
  readonly text: string
  /** Types by the names of metrics. */
  readonly types: ReadonlyMap<string, string>
  /** Values by series: the name, with labels as they are written: `contextd_leader`, `contextd_commits_total{outcome="applied"}`. */
  readonly values: ReadonlyMap<string, number>
  /** The value of a series; 0: it is not there. */
  readonly value: (series: string) => number
}

const sampleForm = /^[a-z_]\w*(?:\{(?:[a-z_]\w*="(?:[^"\\\n]|\\.)*",?)+\})? (\S+)$/i

/** Also what is no number: the mean of nothing. */
const isNumber = (text: string): boolean => /^nan$/i.test(text) || !Number.isNaN(Number(text))

/** Reads metrics as Prometheus does. @throws {Error} a line is not of its text format, or a series is there twice */
export function parseMetrics(text: string): MetricsText {
  const types = new Map<string, string>()
  const values = new Map<string, number>()
  let current = ''
  for (const line of text.split('\n')) {
    const [, typed, type] = /^# TYPE (\w+) (counter|gauge|histogram|summary)$/.exec(line) ?? []
    if (typed !== undefined && type !== undefined) {
      if (types.has(typed)) throw new Error(`two metrics of one name: ${line}`)
      types.set(typed, type)
      current = typed
    } else if (line !== '' && !/^# HELP \w+ \S/.test(line)) {
      const value = sampleForm.exec(line)?.[1]
      const series = line.slice(0, line.lastIndexOf(' '))
      if (value === undefined || !isNumber(value) || !line.startsWith(current) || values.has(series)) throw new Error(`no sample: ${line}`)
      values.set(series, Number(value))
    }
  }
  return { text, types, values, value: (series) => values.get(series) ?? 0 }
}

/** Reads the metrics of a server. */
export async function metricsOf(url: string, headers: { readonly [name: string]: string } = {}): Promise<MetricsText> {
  const response = await fetch(`${url}/metrics`, { headers })
  if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`)
  return parseMetrics(await response.text())
}
