import { createContexts } from 'contextd'
import { redisBackend } from 'contextd/backends/redis'
import { createClient } from '@contextd/client'
import type { ContextdError } from '@contextd/client'
import { startRedisServer } from 'contextd/testing'
import { expect, onTestFinished, test } from 'vitest'
import { startServer } from '../support/child.ts'
import type { ServerProcess } from '../support/child.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/wait.ts'

type Lists = { [id: `list:${string}`]: { state: { items: string[] } } }

const clients = 8
const writesEach = 120
const atOnce = 4

const portOf = (node: ServerProcess): number => Number(new URL(node.url).port)
const isReady = async ({ url }: ServerProcess): Promise<boolean> => (await fetch(`${url}/readyz`).catch(() => null))?.ok ?? false

/** Deals new connections out in turn to the nodes that say they are ready, as a proxy does that looks at /readyz. */
async function proxyTo(nodes: readonly ServerProcess[]): Promise<TcpProxy> {
  const proxy = await TcpProxy.to(portOf(nodes[0]!))
  const closing = new AbortController()
  const look = async (): Promise<void> => {
    while (!closing.signal.aborted) {
      const ready = await Promise.all(nodes.map(isReady))
      proxy.targets = nodes.filter((_, index) => ready[index]).map(portOf)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  const looking = look()
  onTestFinished(async () => {
    closing.abort()
    await looking
    await proxy.close()
  })
  return proxy
}

test('G3 G5: two nodes behind a proxy without sticky sessions are restarted one after the other under load: each write once, no error to anybody', async () => {
  const redis = await startRedisServer()
  onTestFinished(() => redis.stop())
  const nodes = await Promise.all([startServer(redis.url), startServer(redis.url)])
  onTestFinished(async () => void (await Promise.all(nodes.map((node) => node.stop()))))
  const proxy = await proxyTo(nodes)
  await until('both nodes take connections', () => proxy.targets.length === 2)

  const errors: ContextdError[] = []
  const handles = Array.from({ length: clients }, () => {
    const client = createClient<Lists>({ url: `http://127.0.0.1:${proxy.port}`, onError: (error) => errors.push(error) })
    onTestFinished(() => client.destroy())
    const handle = client.context('list:rolling', { initial: { items: [] } })
    handle.subscribe(() => {})
    return handle
  })
  await Promise.all(handles.map((handle) => handle.ready({ live: true })))
  expect(proxy.dealt.size).toBe(2)

  let acknowledged = 0
  const write = async (index: number, lane: number): Promise<void> => {
    for (let n = lane; n < writesEach; n += atOnce) {
      await handles[index]!.at('items').append(`${index}-${n}`)
      acknowledged += 1
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  const writing = Promise.all(handles.flatMap((_, index) => Array.from({ length: atOnce }, (_each, lane) => write(index, lane))))
  for (const [turn, node] of nodes.entries()) {
    await until('some is written', () => acknowledged > ((turn + 0.5) / 3) * clients * writesEach)
    await node.stop()
    expect(node.exitCode).toBe(0)
    await until('the proxy has seen it', () => !proxy.targets.includes(portOf(node)))
    const before = acknowledged
    await until('the others go on meanwhile', () => acknowledged > before + 20)
    await node.restart()
    await until('the proxy has seen it', () => proxy.targets.includes(portOf(node)))
  }
  await writing

  const contexts = createContexts({ backend: redisBackend(redis.url) })
  onTestFinished(() => contexts.close())
  const { state, version } = (await contexts.get('list:rolling'))!
  const all = handles.flatMap((_, index) => Array.from({ length: writesEach }, (_each, n) => `${index}-${n}`))
  expect([...(state['items'] as string[])].toSorted()).toEqual(all.toSorted())
  expect(version).toBe(all.length)
  await until('every client is at the head', () => handles.every((handle) => handle.status.get().version === version))
  for (const handle of handles) expect(handle.get()).toEqual(state)
  expect(errors).toEqual([])
  expect(nodes.map((node) => node.errors.match(/"level":"(?:error|fatal)".*/)?.[0] ?? null)).toEqual([null, null])
})
