import { copyOf } from './copy.ts'
import type { JsonObject, JsonValue } from './json.ts'
import type { Container, Position } from './json-shape.ts'

/**
 * A state that is being changed. Only the containers on the way to a change are copied, and each of them once, however many changes there
 * are; all else keeps its identity, and the state it began with is not touched.
 */
export class Draft {
  #root: JsonObject
  readonly #copies = new Set<Container>()

  constructor(state: JsonObject) {
    this.#root = state
  }

  /** The state as it is now. It must not be changed except through `writable`. */
  get state(): JsonObject {
    return this.#root
  }

  /** The container that the first `depth` steps lead to, which must be there, as a copy that may be changed in place. */
  writable(path: readonly Position[], depth: number): Container {
    let node: Container = this.#copyOnce(this.#root)
    this.#root = node
    for (let step = 0; step < depth; step += 1) {
      const parent = node as { [position: Position]: JsonValue }
      const position = path[step]!
      node = this.#copyOnce(parent[position] as Container)
      parent[position] = node
    }
    return node
  }

  /** Puts another state in place of the whole. */
  replaceRoot(state: JsonObject): void {
    this.#root = state
  }

  /** For a part of the state that is handed out: from now on it is not changed any more, but copied when it must be. */
  release(part: JsonValue | undefined): void {
    if (typeof part !== 'object' || part === null) return
    // What has been copied lies in something that has been copied too: below what has not, there is nothing to release.
    if (this.#copies.delete(part)) for (const child of Object.values(part)) this.release(child)
  }

  #copyOnce<T extends Container>(container: T): T {
    if (this.#copies.has(container)) return container
    const copy = copyOf(container) as T
    this.#copies.add(copy)
    return copy
  }
}
