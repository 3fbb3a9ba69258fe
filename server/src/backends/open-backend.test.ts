import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { store } from '../testing/contract/kit.ts'
import { openBackend } from './open-backend.ts'

test('a URL names a backend', () => {
  expect(openBackend('memory:').name).toBe('memory')
  expect(openBackend('MEMORY:').name).toBe('memory')
  expect(openBackend('sqlite:contexts.db').name).toBe('sqlite')
  expect(openBackend('redis://localhost:6379').publishing.type).toBe('publish')
  expect(openBackend('s3://bucket/prefix?endpoint=http://127.0.0.1:9000&region=eu-central-1').name).toBe('s3')
  expect(openBackend('rediss://me:secret@localhost').name).not.toContain('secret')
})

test('a sqlite URL names its file with or without slashes', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'contextd-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  for (const [url, name] of [
    [`sqlite:${folder}/a.db`, 'a.db'],
    [`sqlite://${folder}/b c.db`, 'b c.db'],
  ] as const) {
    const backend = openBackend(url)
    await backend.open()
    await store(backend)
    await backend.close()
    expect(existsSync(join(folder, name))).toBe(true)
  }
})

test('a URL that names nothing is a mistake, told at once and without what may be a password', () => {
  for (const url of [
    '',
    'contexts.db',
    'sqlite:',
    'sqlite://',
    'memory:x',
    'mongodb://me:secret@host',
    'redis://me:secret@[',
    's3://',
    's3://me:secret@bucket',
    's3://bucket?secretAccessKey=secret',
    undefined as unknown as string,
  ]) {
    expect(() => openBackend(url)).toThrow(TypeError)
    expect(() => openBackend(url)).toThrow(/^(?!.*secret)/)
  }
  expect(() => openBackend('mongodb://me:secret@host')).toThrow(/mongodb: is not known/)
})
