import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test, vi } from 'vitest'
import { connect, openAt, openWithConnection, temporaryFile, temporaryFolder, unavailable } from '../../support/sqlite-store.ts'
import { recordGraceMs } from '../commits/commit-step.ts'
import { at, batchOf, queryOf, recordOf, sessionTtlMs, startAt, store, synced } from '../testing/contract/kit.ts'
import { noHead } from './backend.ts'
import { SqliteBackend, sqliteBackend } from './sqlite.ts'
import { isRecentEnough } from './sqlite/file.ts'

// Disks of busy machines are slow.
vi.setConfig({ testTimeout: 60_000 })

/** Number of transactions in the write-ahead log: frames whose header says how large the file is after a commit. */
function transactionsIn(file: string): number {
  const wal = readFileSync(`${file}-wal`)
  const frameSize = 24 + wal.readUInt32BE(8)
  let count = 0
  for (let offset = 32; offset + frameSize <= wal.length; offset += frameSize) if (wal.readUInt32BE(offset + 4) !== 0) count += 1
  return count
}

test('a backend without a file is a mistake that is told at once', () => {
  expect(() => sqliteBackend('')).toThrow(TypeError)
  expect(() => sqliteBackend({ file: '' })).toThrow(/needs a file/)
  expect(() => sqliteBackend(undefined as unknown as string)).toThrow(/needs a file/)
  expect(() => sqliteBackend({} as { file: string })).toThrow(/needs a file/)
  expect(() => sqliteBackend(':memory:')).toThrow(/memoryBackend/)
  expect(() => sqliteBackend('a\u0000b')).toThrow(/U\+0000/)
})

test('what cannot be a store is refused by open() with its name and what to do, and can be opened once it is right', async () => {
  const folder = temporaryFolder()
  const noDatabase = join(folder, 'text.db')
  writeFileSync(noDatabase, 'no database at all, but a text that is long enough to be read as a header of one. '.repeat(20))
  await expect(sqliteBackend(folder).open()).rejects.toEqual(unavailable(/cannot be opened\. Check/))
  await expect(sqliteBackend(noDatabase).open()).rejects.toEqual(unavailable(/text\.db is not an SQLite database/))
  const later = sqliteBackend(join(folder, 'none', 'contexts.db'))
  await expect(later.open()).rejects.toEqual(unavailable(/none\/contexts\.db cannot be opened.*folder exists/))
  mkdirSync(join(folder, 'none'))
  await later.open()
  await store(later)
  await later.close()
})

test('F33: a database of another program is refused, and not touched', async () => {
  const file = temporaryFile()
  const foreign = connect(file)
  foreign.exec('CREATE TABLE notes (text TEXT)')
  foreign.close()
  const before = readFileSync(file)
  await expect(sqliteBackend(file).open()).rejects.toEqual(unavailable(/belongs to another program/))
  expect(readFileSync(file).equals(before)).toBe(true)
  const marked = connect(file)
  marked.exec("CREATE TABLE contextd (name TEXT); INSERT INTO contextd VALUES ('mine')")
  marked.close()
  await expect(sqliteBackend(file).open()).rejects.toEqual(unavailable(/belongs to another program/))
})

test('a file of a newer contextd is refused', async () => {
  const file = temporaryFile()
  await (await openAt(file)).close()
  const other = connect(file)
  other.exec('UPDATE contextd SET schema = 99')
  other.close()
  await expect(sqliteBackend(file).open()).rejects.toEqual(unavailable(/newer contextd \(schema 99, this one knows 1\)\. Update/))
})

test('a read-only file, and a folder that is, are refused by open()', async () => {
  const folder = temporaryFolder()
  const backend = await openAt(join(folder, 'contexts.db'))
  await store(backend)
  await backend.close()
  const file = join(folder, 'copy.db')
  copyFileSync(join(folder, 'contexts.db'), file)
  chmodSync(file, 0o444)
  chmodSync(folder, 0o555)
  // Whoever may write everything is somebody else for a moment.
  const user = process.geteuid?.() === 0 ? 65_534 : null
  if (user !== null) process.seteuid?.(user)
  const refused = await Promise.allSettled([file, join(folder, 'new.db')].map((each) => sqliteBackend(each).open()))
  if (user !== null) process.seteuid?.(0)
  chmodSync(folder, 0o755)
  expect(refused).toEqual([
    { status: 'rejected', reason: unavailable(/copy\.db is read-only\. Make it and its folder writable/) },
    { status: 'rejected', reason: unavailable(/new\.db cannot be opened\. Check .* that this user may read and write both/) },
  ])
})

test('a file that stays locked is refused by open(), and one that is set free is opened', async () => {
  const file = temporaryFile()
  await (await openAt(file)).close()
  const other = connect(file)
  other.exec('BEGIN IMMEDIATE')
  const opening = openAt(file)
  await expect(new SqliteBackend(file, { patienceMs: 50 }).open()).rejects.toEqual(unavailable(/is locked by another process/))
  other.exec('ROLLBACK')
  await opening
})

test('after close() the file alone holds all', async () => {
  const folder = temporaryFolder()
  const file = join(folder, 'contexts.db')
  const backend = await openAt(file)
  const { head } = await store(backend)
  await backend.close()
  copyFileSync(file, join(folder, 'copy.db'))
  expect(await (await openAt(join(folder, 'copy.db'))).heads(['contract:1'])).toEqual([head])
})

test('only an SQLite without the damage of two writers is used', () => {
  expect(['3.51.3', '3.51.10', '3.53.0', '4.0.0'].filter(isRecentEnough)).toHaveLength(4)
  expect(['3.51.2', '3.45.1', '3.9.9', '2.99.99', '3.51'].filter(isRecentEnough)).toEqual([])
})

test('old records and absent contexts that nobody writes to any more are forgotten', async () => {
  const file = temporaryFile()
  const backend = new SqliteBackend(file)
  await backend.open()
  onTestFinished(() => backend.close())
  const { head: base } = await store(backend, { members: [{ stream: at(1) }] })
  await store(backend, { base, remove: true, now: startAt + 10 })
  await store(backend, { contextId: 'living', members: [{ stream: at(1) }] })
  await backend.sync(queryOf({ contextId: 'never', now: startAt + 20, stream: { epoch: 1 } }))
  const due = startAt + sessionTtlMs + recordGraceMs
  const forgotten: number[] = []
  for (const after of [0, 10, 11, 20, 21]) forgotten.push(await backend.expireRecords(due + after, sessionTtlMs))
  expect(forgotten).toEqual([0, 0, 1, 0, 1])
  expect(await backend.load('contract:1')).toBeNull()
  expect(await backend.load('living')).not.toBeNull()
  expect(await recordOf(backend, {}, 'living')).toEqual({ epoch: 0, last: 0, verdicts: [] })
})

test('what is past its time is forgotten in small steps, that commits go between', async () => {
  const file = temporaryFile()
  const { backend, database } = await openWithConnection(file)
  const { head: base } = await store(backend, { members: [{ stream: at(1) }] })
  const add = database.prepare("INSERT INTO records (context, key, epoch, last, used_at, verdicts) VALUES (?, ?, 0, 1, ?, '[]')")
  database.exec('BEGIN')
  for (let n = 0; n < 2_500; n += 1) add.run(1 + (n % 50), `old-${n}`, startAt - 1)
  database.exec('COMMIT')
  const before = transactionsIn(file)
  const forgetting = (backend as SqliteBackend).expireRecords(startAt + sessionTtlMs + recordGraceMs, sessionTtlMs)
  await store(backend, { base })
  await forgetting
  // Three of records, one of locks, one of contexts, and a commit that came with the first.
  expect(transactionsIn(file) - before).toBeGreaterThanOrEqual(3)
  expect(database.prepare('SELECT key FROM records').all()).toEqual([{ key: 'stream-1' }])
})

test('a file is written ahead, and synced in full', async () => {
  const file = temporaryFile()
  const { database } = await openWithConnection(file)
  expect(database.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' })
  expect(database.prepare('PRAGMA synchronous').get()).toEqual({ synchronous: 2 })
})

test('what 200 contexts commit in one turn of the event loop is one transaction', async () => {
  const file = temporaryFile()
  const backend = await openAt(file)
  const before = transactionsIn(file)
  const ids = Array.from({ length: 200 }, (_, index) => `many:${index}`)
  const raised = { stream: { key: 'other', epoch: 1 } }
  const [batches] = await Promise.all([
    Promise.all(ids.map((contextId) => store(backend, { contextId, members: [{ stream: at(1) }] }))),
    ...ids.map((contextId) => synced(backend, { contextId, ...raised })),
  ])
  expect(transactionsIn(file) - before).toBe(1)
  expect(await backend.heads(ids)).toEqual(batches.map(({ head }) => head))
  await Promise.all(ids.map((contextId) => backend.sync(queryOf({ contextId }))))
  expect(transactionsIn(file) - before).toBe(1)
})

test('nobody is told anything before it is on the disk: a copy of the files made then has it', async () => {
  const folder = temporaryFolder()
  const file = join(folder, 'contexts.db')
  const backend = await openAt(file)
  const { head } = await store(backend, { members: [{ stream: at(1) }] })
  const copy = join(folder, 'copy.db')
  for (const part of ['', '-wal']) copyFileSync(file + part, copy + part)
  const recovered = await openAt(copy)
  expect(await recovered.heads(['contract:1'])).toEqual([head])
  expect((await recordOf(recovered)).last).toBe(1)
})

test('a commit waits for another process that writes, while reads go on', async () => {
  const file = temporaryFile()
  const backend = await openAt(file)
  const { head: base } = await store(backend)
  const other = connect(file)
  other.exec('BEGIN IMMEDIATE')
  let done = false
  const writing = store(backend, { base }).finally(() => (done = true))
  for (let reads = 0; reads < 20; reads += 1) {
    expect(await backend.heads(['contract:1'])).toEqual([base])
    await turn()
  }
  expect((await synced(backend, { head: base })).way).toBe('same')
  expect(done).toBe(false)
  other.exec('COMMIT')
  const { head } = await writing
  expect(await backend.heads(['contract:1'])).toEqual([head])
})

test('a commit that waits too long for another process is held, and stored nowhere', async () => {
  const file = temporaryFile()
  const backend = await openAt(file, { patienceMs: 60 })
  const { head: base } = await store(backend)
  const other = connect(file)
  other.exec('BEGIN IMMEDIATE')
  const batch = batchOf({ base, members: [{ stream: at(1) }] })
  await expect(backend.commit(batch)).rejects.toEqual(unavailable(/locked by another process\. Nothing was written/))
  await expect(backend.sync(queryOf({ stream: { epoch: 1 } }))).rejects.toEqual(unavailable(/locked/))
  other.exec('ROLLBACK')
  expect(await recordOf(backend)).toEqual({ epoch: 0, last: 0, verdicts: [] })
  expect(await backend.commit(batch)).toEqual({ type: 'committed' })
})

test('a process that is killed while it writes leaves nothing, and holds nobody up', async () => {
  const file = temporaryFile()
  const backend = await openAt(file)
  const { head: base } = await store(backend)
  const script = `import { DatabaseSync } from '@photostructure/sqlite'
    const database = new DatabaseSync(process.argv[1])
    database.exec("BEGIN IMMEDIATE; INSERT INTO contexts (id, version) VALUES ('half', 1)")
    process.stdout.write('writing')
    setInterval(() => {}, 1000)`
  const folder = fileURLToPath(new URL('../..', import.meta.url))
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, file], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  const writing = store(backend, { base })
  child.kill('SIGKILL')
  await once(child, 'exit')
  const { head } = await writing
  expect(await backend.heads(['contract:1', 'half'])).toEqual([head, noHead])
})

test('a full disk holds commits whole, and lets them through when there is room', async () => {
  const file = temporaryFile()
  const { backend, database } = await openWithConnection(file)
  const { head: base } = await store(backend)
  const pages = (database.prepare('PRAGMA page_count').get() as { page_count: number }).page_count
  database.exec(`PRAGMA max_page_count = ${pages + 8}`)
  const batch = batchOf({ base, members: [{ stream: at(1) }], pad: 100_000, snapshot: true })
  const small = batchOf({ contextId: 'contract:2' })
  const [smallest, largest] = await Promise.allSettled([backend.commit(small), backend.commit(batch)])
  expect(largest).toEqual({ status: 'rejected', reason: unavailable(/disk is full\. Nothing was written/) })
  // There is room for this one, which came in the same transaction.
  expect(smallest).toEqual({ status: 'fulfilled', value: { type: 'committed' } })
  expect(await backend.heads(['contract:1', 'contract:2'])).toEqual([base, small.head])
  expect((await recordOf(backend)).last).toBe(0)
  database.exec('PRAGMA max_page_count = 100000')
  expect(await backend.commit(batch)).toEqual({ type: 'committed' })
})

test('a commit that fails at its very end may have been stored: given again it is stored once', async () => {
  const file = temporaryFile()
  const { backend, database } = await openWithConnection(file)
  const { head: base } = await store(backend)
  database.exec(`PRAGMA foreign_keys = ON; CREATE TEMP TABLE parents (id INTEGER PRIMARY KEY);
    CREATE TEMP TABLE children (parent INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
    CREATE TEMP TRIGGER spoil AFTER INSERT ON main.log BEGIN INSERT INTO children VALUES (1); END`)
  const batch = batchOf({ base })
  await expect(backend.commit(batch)).rejects.toMatchObject({ code: 'timeout', details: { outcome: 'unknown' } })
  database.exec('DROP TRIGGER spoil')
  expect(await backend.commit(batch)).toEqual({ type: 'committed' })
  expect(await backend.commit(batch)).toMatchObject({ type: 'conflict', missed: batch.entries })
})

test('a context that cannot be read fails alone: what others commit in the same turn is stored', async () => {
  const file = temporaryFile()
  const backend = await openAt(file)
  const { head: base } = await store(backend)
  connect(file).exec("UPDATE contexts SET updated_by = '{'")
  const bad = backend.commit(batchOf({ base }))
  const good = [1, 2, 3].map((index) => store(backend, { contextId: `good:${index}` }))
  await expect(bad).rejects.toEqual(unavailable(/The store failed/))
  expect(await backend.heads(['good:1', 'good:2', 'good:3'])).toEqual((await Promise.all(good)).map(({ head }) => head))
})

test('values that SQLite would change are refused before anything begins', async () => {
  const backend = await openAt(temporaryFile())
  const good = store(backend)
  const batch = batchOf({ contextId: 'bad:1', members: [{ stream: at(1) }] })
  const bad = [
    { ...batch, contextId: 'a\u0000b' },
    { ...batch, contextId: 'a\ud800' },
    { ...batch, contextId: undefined as unknown as string },
    { ...batch, now: 1.5 },
    { ...batch, now: Number.NaN },
    { ...batch, head: { ...batch.head, version: 2 ** 53 } },
    { ...batch, head: { ...batch.head, revision: {} as string } },
    { ...batch, snapshot: '"\u0000"' },
    { ...batch, entries: batch.entries.map((entry) => ({ ...entry, text: '\udc00' })) },
    { ...batch, entries: batch.entries.map((entry) => ({ ...entry, committedAt: -1 })) },
    { ...batch, members: batch.members.map((member) => ({ ...member, stream: at(1, { key: 'a\u0000' }) })) },
    { ...batch, members: batch.members.map((member) => ({ ...member, stream: at(1, { settled: '0' as unknown as number }) })) },
  ]
  for (const wrong of bad) await expect(backend.commit(wrong)).rejects.toThrow(TypeError)
  await expect(backend.sync(queryOf({ stream: { key: '\u0000' } }))).rejects.toThrow(TypeError)
  await expect(backend.load(3 as unknown as string)).rejects.toThrow(TypeError)
  await expect(backend.log('a', -1)).rejects.toThrow(TypeError)
  await expect(backend.heads(['a', '\ud800'])).rejects.toThrow(TypeError)
  await expect(backend.list({ limit: -1, offset: 0, order: 'asc', prefix: '', updatedSince: 0 })).rejects.toThrow(TypeError)
  await good
  expect(await backend.load('bad:1')).toBeNull()
})

test('calls before open() and after close() are held', async () => {
  const file = temporaryFile()
  const backend = sqliteBackend(file)
  await expect(backend.load('a')).rejects.toEqual(unavailable(/not open yet/))
  await backend.open()
  await backend.close()
  await backend.close()
  await expect(backend.commit(batchOf())).rejects.toMatchObject({ code: 'closed', retryable: true })
  await expect(backend.open()).resolves.toBeUndefined()
  await expect(backend.load('a')).rejects.toMatchObject({ code: 'closed' })
  const never = sqliteBackend(file)
  await never.close()
  await expect(never.open()).rejects.toMatchObject({ code: 'closed' })
})

test('close() lets the calls that were made finish', async () => {
  const file = temporaryFile()
  const backend = await openAt(file)
  const calls = Promise.all([store(backend), store(backend, { contextId: 'contract:2' })])
  await backend.close()
  const [first] = await calls
  expect(await (await openAt(file)).heads(['contract:1'])).toEqual([first.head])
})

test('a backend that looks for the writes of others does not keep the process alive', async () => {
  const file = temporaryFile()
  const backend = await openAt(file)
  if (backend.publishing.type !== 'poll') throw new Error('SQLite is polled.')
  const stop = backend.publishing.onChange(() => {})
  const timers = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  stop()
  expect(process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length).toBe(timers)
})
