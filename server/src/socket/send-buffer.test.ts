import { EventEmitter } from 'node:events'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { watchSendBuffer } from './send-buffer.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** A connection whose transport takes nothing until told to: no real one stops at an exact byte. */
class StalledWire extends EventEmitter {
  readyState = 'open'
  readonly transport = {
    writable: false,
    socket: { bufferedAmount: 0, paused: false, pause: () => this.#reading(false), resume: () => this.#reading(true) },
  }
  send(length: number): void {
    this.emit('packetCreate', { data: { length } })
  }
  drain(): void {
    this.transport.writable = true
    this.transport.socket.bufferedAmount = 0
    this.emit('flush')
  }
  #reading(is: boolean): void {
    this.transport.socket.paused = !is
  }
}

function watched(limit: number): { wire: StalledWire; told: string[] } {
  const wire = new StalledWire()
  const told: string[] = []
  watchSendBuffer(wire, limit, {
    behind: () => told.push('behind'),
    drained: () => told.push('drained'),
    hopeless: () => told.push('hopeless'),
  })
  return { wire, told }
}

test('socketBufferBytes: at the limit, and one byte above', () => {
  const { wire, told } = watched(1_000)
  wire.send(600)
  wire.send(400)
  expect(told).toEqual([])
  wire.send(1)
  expect(told).toEqual(['behind'])
})

test('what the transport still holds counts as well', () => {
  const { wire, told } = watched(1_000)
  wire.transport.socket.bufferedAmount = 999
  wire.send(1)
  expect(told).toEqual([])
  wire.send(1)
  expect(told).toEqual(['behind'])
})

test('one that is behind is not read from until it has caught up', () => {
  const { wire, told } = watched(1_000)
  wire.send(1_001)
  expect(wire.transport.socket.paused).toBe(true)
  vi.advanceTimersByTime(1_000)
  expect(told).toEqual(['behind'])
  wire.drain()
  vi.advanceTimersByTime(100)
  expect(told).toEqual(['behind', 'drained'])
  expect(wire.transport.socket.paused).toBe(false)
})

test('a packet that the transport takes at once is never too much', () => {
  const { wire, told } = watched(1_000)
  wire.transport.writable = true
  wire.send(5_000_000)
  expect(told).toEqual([])
})

test('one that goes on asking without reading is hopeless', () => {
  const { wire, told } = watched(1_000)
  wire.send(1_001)
  wire.send(30_999)
  expect(told).toEqual(['behind'])
  wire.send(1)
  expect(told).toEqual(['behind', 'hopeless'])
})

test('a connection that has ended is not looked at any more', () => {
  const { wire } = watched(1_000)
  wire.send(1_001)
  wire.emit('close')
  expect(vi.getTimerCount()).toBe(0)
})

test('0 is no limit', () => {
  const { wire, told } = watched(0)
  wire.send(Number.MAX_SAFE_INTEGER)
  expect(told).toEqual([])
})
