import type { Position } from '../json-shape.ts'
import type { Path } from '../path.ts'
import type { JsonPatchOperation } from '../operation.ts'
import type { DeltaFormat } from './delta-format.ts'

/** JSON Patch (RFC 6902): one operation for each change, in order. */
export const jsonPatch: DeltaFormat<JsonPatchOperation[]> = (delta) =>
  delta.changes.map(({ path, action, value }): JsonPatchOperation => {
    const pointer = pointerOf(path)
    if (action === 'removed') return { op: 'remove', path: pointer }
    return { op: action === 'added' ? 'add' : 'replace', path: pointer, value: value! }
  })

/** A path as a JSON pointer (RFC 6901). */
const pointerOf = (path: Path): string =>
  path
    .map(
      (step) =>
        `/${String(step as Position)
          .replaceAll('~', '~0')
          .replaceAll('/', '~1')}`,
    )
    .join('')
