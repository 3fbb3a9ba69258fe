import type { Backend, ContextBackend } from '../backends/backend.ts'
import type { Archive, OpenArchive } from './archive.ts'
import { backendArchive } from './backend-archive.ts'

const backendMethods = ['open', 'close', 'dump', 'restore', 'locks'] as const satisfies readonly (keyof ContextBackend)[]

const hasMethods = (value: unknown, names: readonly string[]): boolean =>
  typeof value === 'object' && value !== null && names.every((name) => typeof (value as { [name: string]: unknown })[name] === 'function')

/** The archive that an application names: two functions, or a backend. Null: none. @throws {TypeError} it is neither, or the very backend of the contexts */
export function archiveOf(archive: Archive | Backend | undefined, backend: ContextBackend): OpenArchive | null {
  if (archive === undefined) return null
  if ((archive as unknown) === backend) {
    throw new TypeError('archive must be another backend than the one that keeps the contexts: an export would replace them.')
  }
  if (hasMethods(archive, ['export', 'restore'])) {
    const given = archive as Archive
    return {
      export: (snapshot) => given.export(snapshot),
      restore: (contextId) => given.restore(contextId),
      close: () => Promise.resolve(),
    }
  }
  if (hasMethods(archive, backendMethods)) return backendArchive(archive as ContextBackend, backend)
  throw new TypeError('archive must be a backend, or have the functions export(snapshot) and restore(contextId)')
}
