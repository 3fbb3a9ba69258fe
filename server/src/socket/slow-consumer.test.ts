import { expect, test, vi } from 'vitest'
import { metricsOf } from '../../support/metrics.ts'
import { RawSocket } from '../../support/raw-socket.ts'
import { served } from '../../support/served.ts'
import { turn } from '../../support/until.ts'
import { setTo } from '../../support/wire-client.ts'
import { silentLogger } from '../logger.ts'

/** Text that does not compress into fewer bytes on the way. */
const filling = 'x'.repeat(100_000)

async function joined(url: string, contextId: string): Promise<RawSocket> {
  const raw = await RawSocket.open(url)
  const { session } = await raw.call<{ session: string }>(0, 'attach', { session: null })
  await raw.call(1, 'sync', { session, contextId, head: null, epoch: 0, told: 0, settled: 0 })
  return raw
}

test('F23: a client that never reads leaves its rooms, and the others are served; when it reads again it is told the heads', async () => {
  const warn = vi.fn<(details: object, message: string) => void>()
  const { url, connect, server } = await served(
    { limits: { commitsPerSecond: 0, messagesPerSecond: 0 } },
    { logger: { ...silentLogger, warn } },
  )
  const [writer, reader] = await Promise.all([(await connect()).attach(), (await connect()).attach()])
  await Promise.all([writer.sync('c'), reader.sync('c')])
  const slow = await joined(url, 'c')
  const room = (): number => server.io.sockets.adapter.rooms.get('{ctx:c}')?.size ?? 0
  expect(room()).toBe(3)
  slow.socket.pause()

  let version = 0
  writer.write('c', '', [[setTo('text', filling)]])
  let [, incarnation, , , batch] = await writer.client.next('d')
  for (version = 1; room() === 3 && version < 500; version += 1) {
    writer.write('c', incarnation, [[setTo('text', `${version} ${filling}`)]])
    ;[, incarnation, , , batch] = await writer.client.next('d')
  }
  expect(room()).toBe(2)
  expect((await metricsOf(url)).value('contextd_slow_consumers')).toBe(1)
  expect(warn.mock.calls).toEqual([[{ address: '127.0.0.1' }, expect.stringMatching(/^a client does not keep up/)]])
  const before = process.memoryUsage().rss
  for (let more = 0; more < 200; more += 1) {
    writer.write('c', incarnation, [[setTo('text', `${more} more ${filling}`)]])
    ;[, incarnation, , , batch] = await writer.client.next('d')
    version += 1
  }
  await reader.client.until(() => reader.client.frames.d.length === version)
  expect(process.memoryUsage().rss - before).toBeLessThan(150_000_000)

  slow.socket.resume()
  const told = await slow.message((text) => text.startsWith('42["h"'))
  expect(JSON.parse(told.slice(2))).toEqual(['h', ['c', incarnation, version, batch]])
  expect(room()).toBe(3)
  const { value } = await metricsOf(url)
  expect([value('contextd_slow_consumers'), value('contextd_slow_consumers_total')]).toEqual([0, 1])
  writer.write('c', incarnation, [[setTo('text', 'last')]])
  await slow.message((text) => text.includes('"last"'))
})

test('F23: a client that asks and never reads is not read from, so that the memory stays flat; what it asked is answered when it reads', async () => {
  const { url, contexts, connect } = await served()
  await contexts.set('c', { text: 'x'.repeat(1_000_000) })
  const greedy = await RawSocket.open(url)
  const { session } = await greedy.call<{ session: string }>(0, 'attach', { session: null })
  greedy.socket.pause()
  const before = process.memoryUsage().rss
  const request = JSON.stringify(['sync', { session, contextId: 'c', head: null, epoch: 0, told: 0, settled: 0 }])
  for (let id = 1; id <= 150; id += 1) greedy.send(`42${id}${request}`)
  const other = await (await connect()).attach()
  for (let n = 0; n < 50; n += 1) {
    other.write('d', '', [[setTo('n', n)]])
    expect(await other.outcome('d', n + 1)).toMatchObject({ type: 'applied' })
  }
  expect(process.memoryUsage().rss - before).toBeLessThan(75_000_000)

  greedy.socket.resume()
  await greedy.message((text) => text.startsWith('43150['))
  expect(greedy.messages.filter((text) => text.startsWith('43'))).toHaveLength(151)
}, 20_000)

test('a client that floods with pings and never reads is cut off', async () => {
  const { url, connect } = await served()
  const flood = await RawSocket.open(url)
  flood.socket.pause()
  let pings = 0
  for (; pings < 1_000_000 && flood.socket.readyState === flood.socket.OPEN; pings += 1) {
    flood.socket.ping('x'.repeat(125))
    if (pings % 1_000 === 0) await turn()
  }
  expect(flood.socket.readyState).not.toBe(flood.socket.OPEN)
  expect(pings).toBeLessThan(1_000_000)
  const session = await (await connect()).attach()
  session.write('c', '', [[setTo('n', 1)]])
  expect(await session.outcome('c', 1)).toMatchObject({ type: 'applied' })
})
