import { expect, test } from 'vitest'
import { nearest, suggestion } from './suggest.ts'

const verbs = ['serve', 'get', 'set', 'update', 'delete', 'watch', 'list', 'history', 'export', 'restore', 'cleanup']

test.each([
  ['udpate', 'update'],
  ['hsitory', 'history'],
  ['lst', 'list'],
  ['exprot', 'export'],
  ['wacht', 'watch'],
  ['clean', 'cleanup'],
  ['dance', null],
  ['x', null],
  ['constructor', null],
])('%s: %s', (word, meant) => {
  expect(nearest(word, verbs)).toBe(meant)
})

test('a suggestion is a question, or nothing', () => {
  expect(suggestion('gte', verbs)).toBe('; did you mean get?')
  expect(suggestion('prot', ['port'], (name) => `--${name}`)).toBe('; did you mean --port?')
  expect(suggestion('dance', verbs)).toBe('')
})
