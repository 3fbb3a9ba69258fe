import { PacketType } from 'socket.io-parser'
import type { Packet } from 'socket.io-parser'
import { expect, test } from 'vitest'
import { GuardedDecoder, JsonText, ReadyEncoder, isDeeperThan, messageBytesOf } from './packets.ts'

function decoded(text: unknown): Packet[] {
  const packets: Packet[] = []
  const decoder = new GuardedDecoder()
  decoder.on('decoded', (packet) => packets.push(packet))
  decoder.add(text)
  return packets
}
const nested = (depth: number): string => `2["x",${'['.repeat(depth)}${']'.repeat(depth)}]`

test('a message comes with its length in bytes', () => {
  for (const { type, nsp, data } of decoded('2["say",{"text":"ä€"}]')) {
    expect([type, nsp, ...data]).toEqual([2, '/', 'say', { text: 'ä€' }])
    expect(messageBytesOf(data)).toBe(Buffer.byteLength('2["say",{"text":"ä€"}]'))
  }
  expect.assertions(2)
})

test('nesting is limited before anything recurses', () => {
  expect(decoded(nested(599))).toHaveLength(1)
  expect(() => decoded(nested(600))).toThrow('too deep')
  expect(() => decoded(nested(5_000))).toThrow('too deep')
  expect(() => decoded(`2["x",${'{"a":'.repeat(200_000)}1${'}'.repeat(200_000)}]`)).toThrow('too deep')
})

test('brackets in strings do not count, whatever is escaped before the quote', () => {
  expect(decoded(`2["x","${'['.repeat(5_000)}"]`)).toHaveLength(1)
  expect(isDeeperThan(String.raw`["\\",[[[]]]]`, 3)).toBe(true)
  expect(isDeeperThan(String.raw`["\"[[[[[[[[",1]`, 3)).toBe(false)
  expect(isDeeperThan(String.raw`["\\\"[[[[[[[[",1]`, 3)).toBe(false)
  expect(isDeeperThan('["[[[[[[[[', 3)).toBe(false)
  expect(isDeeperThan('[[],[],[],[],[],[]]', 2)).toBe(false)
})

test.each([Buffer.from('2[]'), '51-["x",{"_placeholder":true,"num":0}]', '61-0[{"_placeholder":true,"num":0}]'])(
  'binary packets are refused: %s',
  (packet) => {
    expect(() => decoded(packet)).toThrow('binary')
  },
)

test('text that is JSON already is written as it is, in events and acknowledgements', () => {
  const encoder = new ReadyEncoder()
  expect(encoder.encode({ type: PacketType.EVENT, nsp: '/', data: ['d', new JsonText('[1,2]')] })).toEqual(['2["d",[1,2]]'])
  expect(encoder.encode({ type: PacketType.ACK, nsp: '/', id: 7, data: [new JsonText('{"a":1}')] })).toEqual(['37[{"a":1}]'])
  expect(encoder.encode({ type: PacketType.EVENT, nsp: '/', data: ['d', [1, 2]] })).toEqual(['2["d",[1,2]]'])
  expect(encoder.encode({ type: PacketType.EVENT, nsp: '/mine', data: ['d', new JsonText('[1,2]')] })).toEqual(['2/mine,["d",[1,2]]'])
})
