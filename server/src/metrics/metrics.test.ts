import { ContextdError } from '@contextd/protocol'
import { describe, expect, test } from 'vitest'
import { metricsOf } from '../../support/metrics.ts'
import type { MetricsText } from '../../support/metrics.ts'
import { asker, EventReader } from '../../support/http.ts'
import { RawSocket } from '../../support/raw-socket.ts'
import { connected, served } from '../../support/served.ts'
import { until } from '../../support/until.ts'
import { setTo } from '../../support/wire-client.ts'
import { MemoryBackend, memoryBackend } from '../backends/memory.ts'
import { StoreModel } from '../backends/store-model.ts'
import { SharedMemory } from '../testing/shared-memory.ts'
import { metrics } from './catalog.ts'

/** Values of the series of one metric, by their one label. */
function byLabel({ values }: MetricsText, name: string): { [label: string]: number } {
  const found = [...values].flatMap(([series, value]) => {
    const label = new RegExp(`^${name}\\{\\w+="([^"]*)"\\}$`).exec(series)?.[1]
    return label === undefined || value === 0 ? [] : [[label, value] as const]
  })
  return Object.fromEntries(found)
}

test('every metric is there from the beginning, of its type, beside those of the process', async () => {
  const { url } = await served()
  const { types, value } = await metricsOf(url)
  for (const { name, type } of metrics) expect([name, types.get(name)]).toEqual([name, type])
  expect(value('contextd_info{version="0.1.0",store="memory"}')).toBe(1)
  expect(value('process_resident_memory_bytes')).toBeGreaterThan(10_000_000)
  expect(types.get('nodejs_eventloop_lag_p99_seconds')).toBe('gauge')
})

test('two servers of one process have metrics of their own, and share those of the process', async () => {
  const [one, other] = [await served(), await served()]
  await one.contexts.set('a', {})
  const read = [await metricsOf(one.url), await metricsOf(other.url)]
  expect(read.map(({ value }) => value('contextd_commits_total{outcome="applied"}'))).toEqual([1, 0])
  expect(new Set(read.map(({ value }) => value('process_start_time_seconds'))).size).toBe(1)
})

describe('commits', () => {
  test('are counted by outcome, refusals by code, batches by size', async () => {
    const { url, contexts, connect } = await served({ authorize: ({ contextId }) => contextId !== 'private' })
    const session = await (await connect()).attach()
    session.write('a', '', [[setTo('n', 1)], [setTo('n', 2)], [setTo('n', 2)]])
    expect(await session.outcome('a', 3)).toMatchObject({ type: 'nothing' })
    session.write('private', '', [[setTo('n', 1)]])
    expect(await session.outcome('private', 1)).toMatchObject({ type: 'refused' })
    // The first number once more.
    session.send('a', [{ seq: 1, incarnation: '', operations: [setTo('n', 1)] }])
    await session.client.until(() => session.told('a').filter(([seq]) => seq === 1).length === 2)
    session.send('a', [{ seq: 9, incarnation: '', operations: [setTo('n', 1)] }])
    expect(await session.outcome('a', 9)).toMatchObject({ type: 'gap' })
    await expect(contexts.set('a', {}, { ifVersion: 7 })).rejects.toMatchObject({ code: 'conflict' })

    const read = await metricsOf(url)
    expect(byLabel(read, 'contextd_commits_total')).toEqual({ applied: 2, nothing: 1, refused: 2, repeated: 1, gap: 1 })
    expect(byLabel(read, 'contextd_commit_refusals_total')).toEqual({ forbidden: 1, conflict: 1 })
    expect(read.value('contextd_batch_commits_sum')).toBe(5)
    expect(read.value('contextd_batch_commits_bucket{le="2"}')).toBe(read.value('contextd_batch_commits_count') - 1)
    expect(read.value('contextd_batch_bytes_sum')).toBeGreaterThan(100)
    const timed = read.value('contextd_commit_seconds_count')
    expect(timed).toBeGreaterThanOrEqual(1)
    expect(timed).toBeLessThanOrEqual(4)
    expect(read.value('contextd_commit_seconds_sum')).toBeGreaterThan(0)
    expect(byLabel(read, 'contextd_messages_total')).toEqual({ attach: 1, commit: 4 })
  })

  test('that another node has overtaken are conflicts', async () => {
    const shared = new SharedMemory()
    const [here, there] = [await served({}, { backend: shared.handle() }), await served({}, { backend: shared.handle() })]
    await here.contexts.set('a', { n: 0 })
    await there.contexts.update('a', { n: 1 })
    await here.contexts.update('a', { n: 2 })
    expect((await metricsOf(here.url)).value('contextd_conflicts_total')).toBe(1)
  })

  test('of the engine itself are not among them', async () => {
    const shared = new SharedMemory()
    const [here, there] = [await served({}, { backend: shared.handle() }), await served({}, { backend: shared.handle() })]
    const source = { contextId: 's', refreshIntervalMs: 3_600_000, fetch: () => ({ n: 1 }) }
    here.contexts.addSource(source)
    await until(() => here.contexts.leader.isLeader)
    // It asks the leader, by a commit to a context of the engine.
    await there.contexts.addSource(source).refresh()
    const read = await metricsOf(there.url)
    expect(byLabel(read, 'contextd_commits_total')).toEqual({})
    expect(read.value('contextd_store_call_seconds_count{call="commit"}')).toBeGreaterThan(0)
  })
})

test('syncs are counted by answer; open contexts, connections and sessions while they are there', async () => {
  const { url, contexts, connect } = await served({}, {}, { graceMs: 1 })
  await contexts.set('a', { text: 'x'.repeat(500) })
  const client = await connect()
  const [one, other] = [await client.attach(), await client.attach()]
  await one.sync('none')
  const { answer } = await one.sync('a')
  if (answer.type !== 'full') throw new Error(answer.type)
  await other.sync('a', answer.head)
  await contexts.update('a', { n: 1 })
  await other.sync('a', answer.head)
  const open = await metricsOf(url)
  expect(byLabel(open, 'contextd_syncs_total')).toEqual({ absent: 1, full: 1, same: 1, delta: 1 })
  const gauges = ['sockets', 'sessions', 'rooms', 'open_contexts', 'live_contexts'].map((name) => `contextd_${name}`)
  expect(gauges.map((name) => open.value(name))).toEqual([1, 2, 2, 2, 2])
  const { sent = 0, received = 0 } = byLabel(open, 'contextd_socket_bytes_total')
  expect(sent).toBeGreaterThan(500)
  expect(received).toBeGreaterThan(300)

  client.close()
  await until(async () => (await metricsOf(url)).value('contextd_live_contexts') === 0)
  const gone = await metricsOf(url)
  expect(gauges.map((name) => gone.value(name))).toEqual([0, 0, 0, 0, 0])
  // What a connection that is gone has carried stays counted.
  expect(byLabel(gone, 'contextd_socket_bytes_total')['sent']).toBeGreaterThanOrEqual(sent)
})

test('a history that the store does not have is counted', async () => {
  const shared = new SharedMemory()
  const { url, contexts, connect } = await served({}, { backend: shared.handle() })
  await contexts.set('a', { n: 1 })
  const copy = shared.store.copy('a')
  await contexts.set('a', { n: 2 })
  const session = await (await connect()).attach()
  const { answer } = await session.sync('a')
  if (answer.type !== 'full') throw new Error(answer.type)
  shared.store.putBack(copy)
  expect(await session.sync('a', answer.head)).toMatchObject({ reset: 'rolled_back' })
  expect(byLabel(await metricsOf(url), 'contextd_resets_total')).toEqual({ rolled_back: 1 })
})

test('who is refused, and what cannot be used, is counted by reason', async () => {
  const { url, connect } = await served({
    authenticate: ({ auth }) => (auth.token === 'mine' ? { id: 'ada' } : null),
    limits: { socketsPerAddress: 2, messagesPerSecond: 2 },
  })
  await expect(connect({ token: 'other' })).rejects.toMatchObject({ data: { code: 'unauthenticated' } })
  await expect(connected(url, { token: 'mine' }, { extraHeaders: { origin: 'https://evil.example' } })).rejects.toThrow('websocket error')
  const client = await connect({ token: 'mine' })
  client.socket.emit('who-listens', 1)
  for (let n = 0; n < 10; n += 1) client.socket.emit('leave', { session: 'x', contextId: 'a' })
  await client.call('attach', { session: null })
  client.socket.emit('detach', { session: 5 })
  await client.ended()
  const raw = await Promise.all([RawSocket.open(url, { join: false }), RawSocket.open(url, { join: false })])
  await expect(connect({ token: 'mine' })).rejects.toThrow('websocket error')
  for (const { socket } of raw) socket.terminate()

  const read = await metricsOf(url)
  expect(byLabel(read, 'contextd_refused_connections_total')).toEqual({ origin: 1, address: 1, unauthenticated: 1 })
  expect(read.value('contextd_unknown_events_total')).toBe(1)
  expect(read.value('contextd_undecodable_total')).toBe(1)
  expect(read.value('contextd_rate_limited_total')).toBeGreaterThan(0)
})

test('the HTTP API is counted by method and status, its streams while they last', async () => {
  const { url } = await served()
  const ask = asker(url)
  await ask('PUT', 'contexts/a', { body: { n: 1 } })
  await ask('GET', 'contexts/none')
  await ask('PROPFIND', 'contexts/a')
  const stream = await EventReader.open(`${url}/v1/contexts/a/events`)
  await stream.next()
  const read = await metricsOf(url)
  expect(read.value('contextd_http_requests_total{method="PUT",status="201"}')).toBe(1)
  expect(read.value('contextd_http_requests_total{method="GET",status="404"}')).toBe(1)
  expect(read.value('contextd_http_requests_total{method="other",status="405"}')).toBe(1)
  expect(read.value('contextd_event_streams')).toBe(1)
  stream.close()
  await until(async () => (await metricsOf(url)).value('contextd_event_streams') === 0)
  const after = await metricsOf(url)
  expect(after.value('contextd_http_requests_total{method="GET",status="200"}')).toBe(1)
  // Streams last as long as somebody listens: their time says nothing.
  expect(after.value('contextd_http_request_seconds_count')).toBe(3)
})

/** A store that fails when it is told to. */
class Failing extends MemoryBackend {
  fails = false
  override load(contextId: string): ReturnType<MemoryBackend['load']> {
    return this.fails ? Promise.reject(new ContextdError('backend_unavailable', 'away')) : super.load(contextId)
  }
}

test('calls of the store are timed one by one, and their failures counted', async () => {
  const backend = new Failing(new StoreModel())
  const { url, contexts } = await served({}, { backend })
  await contexts.set('a', { n: 1 })
  backend.fails = true
  await expect(contexts.get('b')).rejects.toMatchObject({ code: 'backend_unavailable' })
  const { value } = await metricsOf(url)
  expect(value('contextd_store_call_seconds_count{call="commit"}')).toBe(1)
  expect(value('contextd_store_call_seconds_sum{call="commit"}')).toBeGreaterThan(0)
  expect(value('contextd_store_call_seconds_count{call="load"}')).toBe(2)
  expect(value('contextd_store_errors_total{call="load",code="backend_unavailable"}')).toBe(1)
})

test('leader, locks and cleanups of this node are counted', async () => {
  const { url, contexts } = await served({}, { deltaTtlMs: 0 })
  await contexts.set('a', { n: 1 })
  await contexts.set('a', { n: 2 })
  const lock = await contexts.lock('a', 'key')
  await expect(contexts.lock('a', 'key', { maxRetries: 0 })).rejects.toMatchObject({ code: 'locked' })
  contexts.startCleanup({ intervalMs: 5 })
  await until(() => contexts.leader.isLeader)
  await until(async () => (await metricsOf(url)).value('contextd_cleaned_deltas_total') > 0)
  const read = await metricsOf(url)
  expect([read.value('contextd_leader'), read.value('contextd_leader_terms_total'), read.value('contextd_locks')]).toEqual([1, 1, 1])
  expect(byLabel(read, 'contextd_lock_requests_total')).toEqual({ taken: 1, locked: 1 })
  expect(byLabel(read, 'contextd_cleanups_total')['done']).toBeGreaterThan(0)
  contexts.stopCleanup()
  await lock.release()
  await until(async () => (await metricsOf(url)).value('contextd_leader') === 0)
  expect((await metricsOf(url)).value('contextd_locks')).toBe(0)
})

test('sources of this node are counted, and those that fail', async () => {
  const { url, contexts } = await served()
  let fails = false
  const source = contexts.addSource({
    contextId: 's',
    refreshIntervalMs: 3_600_000,
    fetch: () => {
      if (fails) throw new Error('mine')
      return { n: 1 }
    },
  })
  await source.refresh()
  fails = true
  await expect(source.refresh()).rejects.toThrow('mine')
  const read = await metricsOf(url)
  expect([read.value('contextd_sources'), read.value('contextd_sources_failing'), read.value('contextd_leader')]).toEqual([1, 1, 1])
  const { done = 0, failed = 0 } = byLabel(read, 'contextd_source_refreshes_total')
  expect([done > 0, failed, read.value('contextd_source_refresh_seconds_count')]).toEqual([true, 1, done + 1])
  await source.remove()
  const after = await metricsOf(url)
  expect([after.value('contextd_sources'), after.value('contextd_sources_failing')]).toEqual([0, 0])
})

test('a node that has more contexts open than it can look after in time says by how much', async () => {
  const { url, engine } = await served({}, {}, { beaconMs: 50 })
  const ends = Array.from({ length: 1_000 }, (_, n) => engine.watch(`c:${n}`, { frame: () => {}, head: () => {} }))
  // 2,000 heads a second: 1,000 take half a second, which is ten intervals.
  expect((await metricsOf(url)).value('contextd_beacon_stretch_ratio')).toBeGreaterThanOrEqual(10)
  for (const end of ends.slice(1)) end()
  await until(async () => (await metricsOf(url)).value('contextd_beacon_stretch_ratio') < 3)
})

test('ids of contexts, users and sessions are in no label, however many there are', async () => {
  const { url, contexts, connect } = await served({ authenticate: () => ({ id: 'user-of-that-name' }) })
  const session = await (await connect()).attach()
  for (let n = 0; n < 50; n += 1) {
    session.write(`context-of-that-name:${n}`, '', [[setTo('n', 1)]])
    await session.sync(`context-of-that-name:${n}`)
    await contexts.get(`context-of-that-name:${n}`)
  }
  const { text, values } = await metricsOf(url)
  expect(text).not.toMatch(/of-that-name/)
  expect(text).not.toContain(session.id)
  expect([...values.keys()].filter((series) => series.startsWith('contextd_')).length).toBeLessThan(300)
})

test('without metrics nothing is measured, and there is no such path', async () => {
  const backend = memoryBackend()
  const { url, engine } = await served({ metrics: false }, { backend })
  expect((await fetch(`${url}/metrics`)).status).toBe(404)
  const { store } = engine.measures.parts
  await store.load('a')
  expect(store.measure().seconds.size).toBe(0)
})
