import { readFileSync } from 'node:fs'
import { Registry, collectDefaultMetrics } from 'prom-client'
import type { Metric as PromMetric } from 'prom-client'
import { metrics } from './catalog.ts'
import type { Measured, Metric, Sample } from './catalog.ts'
import type { Histogram } from './histogram.ts'

/** A value, as prom-client writes it. */
interface Line {
  readonly metricName: string
  readonly labels: { readonly [name: string]: string | number }
  readonly value: number
}

export const contentType: string = Registry.PROMETHEUS_CONTENT_TYPE

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }

/** Version of this package. */
export const packageVersion = version

/** The metrics of this process: of memory, garbage collection, event loop; from when they are first asked for. */
let ofProcess: Registry | null = null

function processMetrics(): Registry {
  if (ofProcess === null) {
    ofProcess = new Registry()
    collectDefaultMetrics({ register: ofProcess })
  }
  return ofProcess
}

/** Writes metrics down, read anew each time. */
export class Prometheus {
  readonly #registry = new Registry()

  /** @param read gives what there is now */
  constructor(read: () => Measured) {
    for (const metric of metrics) this.#registry.registerMetric(pulled(metric, read))
  }

  async text(): Promise<string> {
    return `${await this.#registry.metrics()}\n${await processMetrics().metrics()}`
  }
}

/** A metric of prom-client that keeps nothing itself: a histogram of prom-client's own could not be filled from one that is. */
function pulled({ name, type, labels, help, read }: Metric, now: () => Measured): PromMetric {
  const get = (): Promise<object> => {
    const values = [...read(now())].flatMap((sample) => linesOf(name, labels, sample))
    return Promise.resolve({ name, type, help, aggregator: 'sum', values })
  }
  return { name, help, get, reset: () => {} } as unknown as PromMetric
}

function linesOf(name: string, names: readonly string[], [values, value]: Sample): Line[] {
  const labels = Object.fromEntries(names.map((label, index) => [label, values[index] ?? '']))
  return typeof value === 'number' ? [{ metricName: name, labels, value }] : histogramLines(name, labels, value)
}

function histogramLines(name: string, labels: Line['labels'], { bounds, counts, sum }: Histogram): Line[] {
  let count = 0
  const buckets = counts.map((ofBucket, index) => {
    count += ofBucket
    return { metricName: `${name}_bucket`, labels: { ...labels, le: bounds[index] ?? '+Inf' }, value: count }
  })
  return [...buckets, { metricName: `${name}_sum`, labels, value: sum }, { metricName: `${name}_count`, labels, value: count }]
}
