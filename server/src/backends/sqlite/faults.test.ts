import { closeSync, copyFileSync, openSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { expect, test, vi } from 'vitest'
import { connect, openAt, openWithConnection, temporaryFile, unavailable } from '../../../support/sqlite-store.ts'
import { at, batchOf, contextId, everything, queryOf, recordOf, store } from '../../testing/contract/kit.ts'
import type { ContextBackend } from '../backend.ts'
import { SqliteBackend, sqliteBackend } from '../sqlite.ts'
import { GroupCommit } from './group-commit.ts'
import { OpenFiles } from './open-files.ts'

// Disks of busy machines are slow.
vi.setConfig({ testTimeout: 60_000 })

const pageSize = 4_096
const moved = unavailable(/removed or replaced while it was open\. Nothing was written; put it back, or start again\./)
const files = (file: string): readonly string[] => ['', '-wal', '-shm'].map((part) => file + part)

/** Reads count for a moment after a look at the files. */
async function readsAreHeld(backend: ContextBackend): Promise<void> {
  const reads = (): Promise<PromiseSettledResult<unknown>[]> =>
    Promise.allSettled([backend.heads([contextId]), backend.load(contextId), backend.sync(queryOf()), backend.dump(contextId)])
  await vi.waitFor(async () => {
    for (const read of await reads()) expect(read).toEqual({ status: 'rejected', reason: moved })
  })
}

test.each<[string, (file: string) => void, (file: string) => void]>([
  [
    'moved away',
    (file) => files(file).forEach((each) => renameSync(each, `${each}.away`)),
    (file) => files(file).forEach((each) => renameSync(`${each}.away`, each)),
  ],
  [
    'replaced by a copy',
    (file) => {
      renameSync(file, `${file}.away`)
      copyFileSync(`${file}.away`, file)
    },
    (file) => renameSync(`${file}.away`, file),
  ],
  [
    'left without what was written ahead',
    (file) => renameSync(`${file}-wal`, `${file}-wal.away`),
    (file) => renameSync(`${file}-wal.away`, `${file}-wal`),
  ],
])('F12: a file that is %s takes no commit; once it is back all goes on, and nothing is lost', async (_what, move, putBack) => {
  const file = temporaryFile()
  const backend = await openAt(file)
  const { head: base } = await store(backend, { members: [{ stream: at(1) }] })
  const before = await everything(backend)
  move(file)
  const batch = batchOf({ base, members: [{ stream: at(2) }] })
  await expect(backend.commit(batch)).rejects.toEqual(moved)
  await expect(backend.sync(queryOf({ stream: { epoch: 4 } }))).rejects.toEqual(moved)
  await readsAreHeld(backend)
  putBack(file)
  expect(await everything(backend)).toEqual(before)
  expect(await recordOf(backend)).toMatchObject({ epoch: 0, last: 1 })
  expect(await backend.commit(batch)).toEqual({ type: 'committed' })
  await backend.close()
  expect(await (await openAt(file)).heads([contextId])).toEqual([batch.head])
})

test('a file that is removed for good takes no commit, and is made anew by the next start', async () => {
  const file = temporaryFile()
  const backend = await openAt(file)
  await store(backend)
  for (const each of files(file)) rmSync(each)
  await expect(backend.commit(batchOf({ contextId: 'other' }))).rejects.toEqual(moved)
  await readsAreHeld(backend)
  await backend.close()
  const next = await openAt(file)
  expect(await next.load(contextId)).toBeNull()
  await store(next)
})

test('a file that is removed while it is written to has perhaps lost the write', async () => {
  const file = temporaryFile()
  const { database } = await openWithConnection(file)
  const transactions = new GroupCommit(database, new OpenFiles(file), 1_000)
  const away = `${file}.away`
  const writing = [
    transactions.write(() => database.exec("INSERT INTO contexts (id) VALUES ('a')")),
    transactions.write(() => renameSync(file, away)),
  ]
  for (const outcome of await Promise.allSettled(writing)) {
    expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'timeout', retryable: true, details: { outcome: 'unknown' } } })
  }
  renameSync(away, file)
  expect(await transactions.read(() => database.prepare('SELECT count(*) AS n FROM contexts').get())).toEqual({ n: 1 })
})

/** A closed file in which nobody can read the state of `bad`. */
async function damagedFile(): Promise<string> {
  const file = temporaryFile()
  const backend = await openAt(file)
  for (const id of ['good:1', 'bad', 'good:2']) {
    const batch = batchOf({ contextId: id })
    await backend.commit({ ...batch, snapshot: JSON.stringify({ pad: (id === 'bad' ? 'q' : 'x').repeat(40_000) }) })
  }
  await backend.close()
  const page = readFileSync(file).indexOf('q'.repeat(pageSize - 4)) - 4
  expect(page % pageSize).toBe(0)
  // The page that this one is continued on.
  const descriptor = openSync(file, 'r+')
  writeSync(descriptor, Buffer.from([0xff, 0xff, 0xff, 0xff]), 0, 4, page)
  closeSync(descriptor)
  return file
}

test('F5: a damaged page is told by the contexts on it; the others are read, and written in the same transaction', async () => {
  const backend = await openAt(await damagedFile())
  const damaged = unavailable(/file is damaged\. Nothing was written; restore it from a copy/)
  await expect(backend.load('bad')).rejects.toEqual(damaged)
  const [good1, bad, good2] = await backend.heads(['good:1', 'bad', 'good:2'])
  const batches = [good1!, bad!, good2!].map((base, index) =>
    batchOf({ contextId: ['good:1', 'bad', 'good:2'][index]!, base, snapshot: true }),
  )
  const outcomes = await Promise.allSettled(batches.map((batch) => backend.commit(batch)))
  expect(outcomes).toEqual([
    { status: 'fulfilled', value: { type: 'committed' } },
    { status: 'rejected', reason: damaged },
    { status: 'fulfilled', value: { type: 'committed' } },
  ])
  expect(await backend.heads(['good:1', 'bad', 'good:2'])).toEqual([batches[0]!.head, bad, batches[2]!.head])
  expect(await backend.load('good:2')).toMatchObject({ snapshot: batches[2]!.snapshot })
})

test.each<[string, (file: string) => void, RegExp]>([
  ['whose tables cannot be read', (file) => overwrite(file, 100, pageSize), /contexts\.db is damaged\. Restore it from a copy/],
  ['whose header is gone', (file) => overwrite(file, 0, 100), /contexts\.db is not an SQLite database\. Use another file/],
  ['that was cut', (file) => truncateSync(file, 5_000), /contexts\.db is damaged, or belongs to another program\. Restore it/],
])('a file %s is refused by open(), and not touched', async (_what, damage, message) => {
  const file = temporaryFile()
  await (await openAt(file)).close()
  damage(file)
  const before = readFileSync(file)
  await expect(sqliteBackend(file).open()).rejects.toEqual(unavailable(message))
  expect(readFileSync(file).equals(before)).toBe(true)
})

function overwrite(file: string, from: number, to: number): void {
  const bytes = readFileSync(file)
  writeFileSync(file, bytes.fill(0xa5, from, to))
}

test('a file that another process keeps for itself is refused, and opened once it is set free', async () => {
  const made = temporaryFile()
  await (await openAt(made)).close()
  // That connection ends some time later.
  const file = `${made}.copy`
  copyFileSync(made, file)
  const other = connect(file)
  other.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE')
  await expect(new SqliteBackend(file, { patienceMs: 50 }).open()).rejects.toEqual(
    unavailable(/is locked by another process\. Stop that process/),
  )
  const opening = openAt(file)
  other.close()
  await opening
})
