import { ContextdError } from '@contextd/protocol'

/** Most bytes of an object's name. */
const nameLimit = 1_024
const folder = 'contexts/'

/**
 * Names of a store's objects. Letters of a context's id that stores, tools or URLs take for something else are written as `!` and four hex
 * digits, the others (all that an id may have) as they are, so that a listing comes by id in code-unit order, and by its prefix.
 */
export class Names {
  /** Says that the prefix is a store of contextd. */
  readonly marker: string
  /** Comes and goes while `open()` or a clean-up finds out what the store can do. */
  readonly probe: string
  readonly #contexts: string

  /** `prefix`: '', or with a slash at its end. */
  constructor(prefix: string) {
    this.marker = `${prefix}contextd.json`
    this.probe = `${prefix}probe`
    this.#contexts = `${prefix}${folder}`
  }

  /** Name of a context's object. @throws {ContextdError} `invalid_operation` – the id is too long for one */
  context(contextId: string): string {
    const name = this.beginning(contextId)
    if (name.length <= nameLimit) return name
    throw new ContextdError('invalid_operation', 'The context id is too long for the store.', { contextId })
  }

  /** Start of the names of all contexts whose ids begin with `prefix`. */
  beginning(prefix: string): string {
    return this.#contexts + prefix.replace(/[^A-Za-z0-9._:\-@+~]/g, escaped)
  }

  /** The id that an object's name stands for; null: it is no context's. */
  contextId(name: string): string | null {
    if (!name.startsWith(this.#contexts)) return null
    const contextId = name
      .slice(this.#contexts.length)
      .replace(/!([0-9a-f]{4})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    return this.beginning(contextId) === name ? contextId : null
  }
}

/** Whether the names show that these ids come in code-unit order: none is escaped. */
export const isOrdered = (name: string): boolean => !name.includes('!')

const escaped = (letter: string): string => `!${letter.charCodeAt(0).toString(16).padStart(4, '0')}`
