import { setTimeout } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { until } from '../../../support/until.ts'
import { startRedisServer } from '../../testing/redis-server.ts'
import { Connection } from './connection.ts'
import { NotConnected } from './errors.ts'
import { checkOptions } from './options.ts'

test('F18: a connection on which many commands are not answered is given up once, and takes none from then on', async () => {
  const server = await startRedisServer()
  onTestFinished(() => server.stop())
  const connection = new Connection(checkOptions({ url: server.url, redisOptions: { commandTimeout: 100 } }).connection)
  onTestFinished(() => connection.close())
  await connection.open(async () => {})
  const ping = (): Promise<unknown> => connection.send((client) => client.ping()).catch((error: unknown) => error)
  const { stream } = connection.client
  const listeners = stream.listenerCount('close')
  server.freeze()
  const calls: Promise<unknown>[] = []
  for (let n = 0; n < 15; n += 1) {
    calls.push(ping())
    await setTimeout(5)
  }
  await calls[0]
  expect(await ping()).toBeInstanceOf(NotConnected)
  await Promise.all(calls)
  expect(stream.listenerCount('close')).toBe(listeners + 1)
  server.thaw()
  await until(() => connection.ready)
  expect(await ping()).toBe('PONG')
})

test('many calls wait for one connection, without a warning of a leak', async () => {
  const server = await startRedisServer()
  onTestFinished(() => server.stop())
  const warnings: string[] = []
  const onWarning = ({ name }: Error): void => void warnings.push(name)
  process.on('warning', onWarning)
  onTestFinished(() => void process.off('warning', onWarning))
  const connection = new Connection(checkOptions(server.url).connection)
  onTestFinished(() => connection.close())
  connection.start()
  await Promise.all(Array.from({ length: 50 }, () => connection.whenReady()))
  expect(connection.ready).toBe(true)
  // They are emitted a turn later.
  await setTimeout(1)
  expect(warnings).toEqual([])
})
