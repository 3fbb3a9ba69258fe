import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from '@photostructure/sqlite'
import type { DatabaseSyncInstance } from '@photostructure/sqlite'
import { expect, onTestFinished } from 'vitest'
import type { ContextBackend } from '../src/backends/backend.ts'
import { SqliteBackend } from '../src/backends/sqlite.ts'
import type { SqliteSettings } from '../src/backends/sqlite.ts'

/** A folder that is removed after the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'contextd-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}
/** A file that is not there yet, in a folder of its own. */
export const temporaryFile = (): string => join(temporaryFolder(), 'contexts.db')

/** Opens a backend, which is closed after the test. */
export async function openAt(file: string, settings?: Partial<SqliteSettings>): Promise<ContextBackend> {
  const backend = new SqliteBackend(file, settings)
  await backend.open()
  onTestFinished(() => backend.close())
  return backend
}

/** Opens a backend, and shows its own connection. */
export async function openWithConnection(file: string): Promise<{ backend: ContextBackend; database: DatabaseSyncInstance }> {
  const opened: DatabaseSyncInstance[] = []
  const backend = await openAt(file, { configure: (database) => opened.push(database) })
  const [database] = opened
  if (!database) throw new Error('The connection was not shown.')
  return { backend, database }
}

/** Another program's connection to the file. */
export function connect(file: string): DatabaseSyncInstance {
  const database = new DatabaseSync(file)
  onTestFinished(() => {
    if (database.isOpen) database.close()
  })
  return database
}

/** What a call is told whose work was not done, and may be tried again. */
export const unavailable = (message: string | RegExp): object =>
  expect.objectContaining({ name: 'ContextdError', code: 'backend_unavailable', retryable: true, message: expect.stringMatching(message) })
