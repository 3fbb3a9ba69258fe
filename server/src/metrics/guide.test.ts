import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { metrics } from './catalog.ts'
import type { Metric } from './catalog.ts'

const guide = readFileSync(new URL('../../../docs/guides/server.md', import.meta.url), 'utf8')

const rowOf = ({ name, type, labels, help }: Metric): string =>
  `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(' ')}${labels.length > 0 ? ' ' : ''}| ${help.replace(/\.$/, '')} |`

test('the guide has a table of all metrics, each as it is', () => {
  const rows = guide.split('\n').filter((line) => line.startsWith('| `contextd_'))
  expect(rows).toEqual(metrics.map(rowOf))
})
