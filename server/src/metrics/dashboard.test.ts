import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { metricsOf } from '../../support/metrics.ts'
import { served } from '../../support/served.ts'
import { setTo } from '../../support/wire-client.ts'
import { metrics } from './catalog.ts'

interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly gridPos: { readonly h: number; readonly w: number; readonly x: number; readonly y: number }
  readonly datasource?: { readonly type: string; readonly uid: string }
  readonly fieldConfig?: { readonly defaults: { readonly unit: string } }
  readonly targets?: readonly { readonly refId: string; readonly expr: string; readonly datasource: object }[]
}
interface Dashboard {
  readonly title: string
  readonly uid: string
  readonly schemaVersion: number
  readonly templating: { readonly list: readonly { readonly name: string; readonly type: string }[] }
  readonly panels: readonly Panel[]
}

const dashboard = JSON.parse(readFileSync(new URL('../../../docs/grafana/contextd.json', import.meta.url), 'utf8')) as Dashboard
const graphs = dashboard.panels.filter(({ type }) => type !== 'row')
const exprs = graphs.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))

/** The series that an expression reads, with what it says of their labels: `contextd_sockets{…}`. */
const seriesOf = (expr: string): { name: string; labels: string[] }[] =>
  [...expr.matchAll(/\b((?:contextd|process|nodejs)_\w+)(?:\{([^}]*)\})?/g)].map(([, name, matchers = '']) => ({
    name: name!,
    labels: [...matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(([, label]) => label!),
  }))

/** Labels that the series of a metric may have. */
const labelsOf = (name: string): readonly string[] => {
  const ours = metrics.find((metric) => name === metric.name || name.replace(/_(bucket|sum|count)$/, '') === metric.name)
  return [...(ours?.labels ?? ['kind']), 'job', 'instance', 'le']
}

test('it is a dashboard: rows of panels that do not lie on each other, each with its source, unit and queries', () => {
  expect(dashboard).toMatchObject({ title: 'contextd', uid: 'contextd', id: null })
  expect(dashboard.schemaVersion).toBeGreaterThanOrEqual(36)
  expect(dashboard.templating.list.map(({ name, type }) => [name, type])).toEqual([
    ['datasource', 'datasource'],
    ['job', 'query'],
    ['instance', 'query'],
  ])
  expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length)
  const cells = dashboard.panels.flatMap(({ gridPos: { x, y, w, h } }) =>
    Array.from({ length: w * h }, (_, cell) => `${x + (cell % w)} ${y + Math.floor(cell / w)}`),
  )
  expect(new Set(cells).size).toBe(cells.length)
  for (const { type, title, gridPos, datasource, fieldConfig, targets } of dashboard.panels) {
    expect(title).not.toBe('')
    expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24)
    if (type === 'row') continue
    expect(['timeseries', 'stat']).toContain(type)
    expect(datasource).toEqual({ type: 'prometheus', uid: '${datasource}' })
    expect(fieldConfig?.defaults.unit).toMatch(/^\w+$/)
    expect(targets!.map(({ refId }) => refId)).toEqual(['A', 'B', 'C', 'D'].slice(0, targets!.length))
  }
})

test('every series that it reads is one of a server, and so are their labels', async () => {
  const { url, contexts, connect } = await served()
  const session = await (await connect()).attach()
  session.write('a', '', [[setTo('n', 1)]])
  await session.sync('a')
  await contexts.get('a')
  await metricsOf(url)
  const { types } = await metricsOf(url)
  const series = new Set(
    [...types].flatMap(([name, type]) => (type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name])),
  )
  for (const expr of exprs) {
    const read = seriesOf(expr)
    expect(read.length, expr).toBeGreaterThan(0)
    for (const { name, labels } of read) {
      expect(series, expr).toContain(name)
      for (const label of labels) expect(labelsOf(name), expr).toContain(label)
    }
    const grouped = [...expr.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, by]) => by!.split(', '))
    for (const label of grouped)
      expect(
        read.flatMap(({ name }) => labelsOf(name)),
        expr,
      ).toContain(label)
  }
})

test('rates are taken of counters and of histograms, not of gauges, and every counter is seen as one', () => {
  const types = new Map(metrics.map(({ name, type }) => [name, type]))
  for (const expr of exprs) {
    for (const [, name] of expr.matchAll(/\b(?:rate|increase)\((contextd_\w+)\{/g)) {
      expect(types.get(name!) ?? types.get(name!.replace(/_(bucket|sum|count)$/, '')), expr).toMatch(/counter|histogram/)
    }
    for (const [, called, name] of expr.matchAll(/(\w*)\(?(contextd_\w+_total)\{/g))
      expect([name, called]).toEqual([name, expect.stringMatching(/^(rate|increase)$/)])
  }
})

test('it shows every metric', () => {
  const shown = new Set(exprs.flatMap(seriesOf).map(({ name }) => name))
  const isShown = (name: string): boolean => [name, `${name}_bucket`, `${name}_sum`, `${name}_count`].some((series) => shown.has(series))
  expect(metrics.map(({ name }) => name).filter((name) => !isShown(name))).toEqual([])
})
