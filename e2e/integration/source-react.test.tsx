import { createClient } from '@contextd/client'
import { ContextdProvider, createContextdHooks } from '@contextd/react'
import { act, cleanup, render, waitFor } from '@testing-library/react'
import { createContexts, createServer } from 'contextd'
import type { ReactNode } from 'react'
import { expect, onTestFinished, test } from 'vitest'

type Dashboards = { 'dashboard:sales': { state: { items: { id: string; total: number }[] } } }
const { useContextd, useContextdStatus } = createContextdHooks<Dashboards>()

const rendered: string[] = []

function Total({ id }: { id: string }): ReactNode {
  const total = useContextd('dashboard:sales', ({ items }) => items.find((item) => item.id === id)?.total)
  rendered.push(id)
  return <td>{total ?? '-'}</td>
}

const Phase = (): ReactNode => useContextdStatus('dashboard:sales').phase

test('a React page shows a source like any context, and renders again only what changed', async () => {
  const contexts = createContexts()
  let data = ['north', 'south'].map((id) => ({ id, total: 1 }))
  const source = contexts.addSource({ contextId: 'dashboard:sales', fetch: () => data, refreshIntervalMs: 3_600_000 })
  const server = createServer({ contexts, cors: { origin: [location.origin] } })
  await server.listen({ port: 0 })
  const client = createClient<Dashboards>({ url: server.url! })
  onTestFinished(async () => {
    cleanup()
    await client.destroy()
    await server.close()
    await contexts.close()
  })
  const { container } = render(
    <ContextdProvider client={client}>
      <table>
        <tbody>
          <tr>
            <Total id="north" />
            <Total id="south" />
            <td>
              <Phase />
            </td>
          </tr>
        </tbody>
      </table>
    </ContextdProvider>,
  )
  const cells = (): (string | null)[] => Array.from(container.querySelectorAll('td'), ({ textContent }) => textContent)
  await waitFor(() => expect(cells()).toEqual(['1', '1', 'live']))
  rendered.length = 0
  data = data.map(({ id }) => ({ id, total: id === 'south' ? 2 : 1 }))
  await act(() => source.refresh())
  await waitFor(() => expect(cells()).toEqual(['1', '2', 'live']))
  expect(new Set(rendered)).toEqual(new Set(['south']))
})
