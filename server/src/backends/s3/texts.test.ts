import { describe, expect, test } from 'vitest'
import { author } from '../../testing/contract/kit.ts'
import type { StoreCopy } from '../store-model.ts'
import { parseError, parseListing } from './listing.ts'
import { Names, isOrdered } from './names.ts'
import { decodeNote, decodeObject, emptyCopy, encodeNote, encodeObject, noteOf } from './stored-object.ts'

describe('names of objects', () => {
  const names = new Names('app/')
  const ids = [
    'chat:42',
    'A.b_c-d@e+f~g',
    '~cluster',
    '../../x',
    'a/b',
    'a\\b',
    'a b',
    'a#b',
    'a?b',
    'a!0021',
    '!',
    '%2e',
    'é😀',
    '\ud83d',
    '\u0000',
    '__proto__',
    '',
  ]

  test.each(ids)('%j comes back from its name, which has no letter that means anything to anybody', (id) => {
    const name = names.context(id)
    expect(name).toMatch(/^app\/contexts\/[A-Za-z0-9._:\-@+~!]*$/)
    expect(names.contextId(name)).toBe(id)
  })

  test('different ids have different names, and those of all that an id may be are in its order', () => {
    expect(new Set(ids.map((id) => names.context(id))).size).toBe(ids.length)
    const plain = ['0', '9:z', 'A', 'A@x', 'a', 'a+b', 'a-b', 'a.b', 'a0', 'a:b', 'a@b', 'aB', 'a_', 'aa', 'a~b', 'b', '~cluster']
    expect(plain.map((id) => names.context(id)).toSorted()).toEqual(plain.map((id) => names.context(id)))
    expect(plain.every((id) => isOrdered(names.context(id)))).toBe(true)
  })

  test('other objects of the bucket are no contexts', () => {
    for (const name of [
      'app/contextd.json',
      'app/probe',
      'contexts/a',
      'app/contexts/a/b',
      'app/contexts/a!00',
      'app/contexts/a!0041',
      'app/contexts/a!00e9é',
    ]) {
      expect(names.contextId(name)).toBeNull()
    }
  })

  test('an id that is too long for a name is refused', () => {
    expect(names.context('a'.repeat(1_000))).toHaveLength(1_013)
    expect(() => names.context('a'.repeat(1_020))).toThrow(expect.objectContaining({ code: 'invalid_operation' }))
  })
})

const row = {
  head: { incarnation: 'i😀', version: 7, revision: 'r"\\' },
  createdAt: 1,
  updatedAt: 2,
  updatedBy: author,
  snapshotVersion: 6,
  snapshotSize: 9,
  firstVersion: 6,
  logSize: 20,
  sinceSnapshotSize: 10,
  schema: 3,
  restored: true,
}
const copy: StoreCopy = {
  contextId: 'a',
  row,
  snapshot: '{"a":"\u2028\\ud83d 😀"}',
  log: [6, 7].map((version) => ({
    version,
    revision: `r${version}`,
    baseRevision: `r${version - 1}`,
    committedAt: version * 10,
    text: '[1,"\u0000"]',
  })),
  records: new Map([['key', { epoch: 1, last: 2, verdicts: [[2, { type: 'applied', head: null }]], usedAt: 5 }]]),
  locks: new Map([['lock', { hold: 'h', token: 4, holder: author, since: 3, until: 9 }]]),
  lastToken: 4,
  touchedAt: 8,
}

test('a context comes back from its object, and the write that made it', () => {
  for (const each of [copy, emptyCopy('a')]) expect(decodeObject('a', encodeObject(each, 'w1'))).toEqual({ copy: each, write: 'w1' })
})

test('a text that is no object of this version is none', () => {
  const text = encodeObject(copy, 'w')
  for (const other of [
    '',
    'null',
    '1',
    '[]',
    '{}',
    text.slice(1),
    text.replace('"contextd":1', '"contextd":2'),
    text.replace('"log":[', '"logs":['),
  ]) {
    expect(decodeObject('a', other)).toBeNull()
  }
})

test('a note comes back from its header, which takes letters of URLs only', () => {
  for (const each of [copy, emptyCopy('a')]) {
    const header = encodeNote(noteOf(each))
    expect(header).toMatch(/^[\w-]+$/)
    expect(decodeNote('a', header)).toEqual(noteOf(each))
  }
  expect(noteOf(copy)).toMatchObject({ version: 7, createdAt: 1, updatedAt: 2, touchedAt: 8, logged: 2, loggedFrom: 60 })
  for (const other of ['', 'AAAA', Buffer.from('[2,"","",0,0,0,0,0,0]').toString('base64url'), Buffer.from('[1]').toString('base64url')]) {
    expect(decodeNote('a', other)).toBeNull()
  }
})

const object = (key: string): string =>
  `<Contents><Key>${key}</Key><LastModified>2026-01-02T03:04:05.678Z</LastModified><ETag>&quot;0a&quot;</ETag><Owner><ID>x</ID></Owner></Contents>`

test('a listing is read with its escapes, and an error by its code', () => {
  const listing = `<?xml version="1.0"?><ListBucketResult><IsTruncated>true</IsTruncated>${object('a&amp;b&#x21;&#33;&lt;')}\n${object('b')}<NextContinuationToken>t&amp;</NextContinuationToken></ListBucketResult>`
  const written = { etag: '0a', writtenAt: Date.UTC(2026, 0, 2, 3, 4, 5, 678) }
  expect(parseListing(listing)).toEqual({
    objects: [
      { name: 'a&b!!<', ...written },
      { name: 'b', ...written },
    ],
    next: 't&',
  })
  expect(parseListing('<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>')).toEqual({ objects: [], next: null })
  expect(parseError('<?xml version="1.0"?><Error><Code>SlowDown</Code></Error>')).toBe('SlowDown')
  expect(parseError('<html><Code>no</Code></html>')).toBe('')
})
