import { isExpiredHead } from '@contextd/protocol'
import type { Head } from '@contextd/protocol'
import type { Archivist } from './archivist.ts'

/** Whether a context that is absent with this head is one to look for in an archive: it never was, or it expired. One that was deleted stays so. */
export const comesBack = (head: Head): boolean => head.version === 0 && (head.revision === '' || isExpiredHead(head))

/**
 * Brings one context back from the archive when somebody asks for it, and it is not there: see {@link comesBack}. Those who ask at once share
 * one question.
 */
export class FirstAccess {
  readonly #contextId: string
  readonly #archivist: Pick<Archivist, 'restore'>
  #asking: Promise<void> | null = null
  /** Revision of the absence for which the archive had nothing. */
  #nothingFor: string | null = null

  constructor(contextId: string, archivist: Pick<Archivist, 'restore'>) {
    this.#contextId = contextId
    this.#archivist = archivist
  }

  /** Whether the archive is to be asked about a context with this head. */
  isDue(head: Head): boolean {
    return comesBack(head) && head.revision !== this.#nothingFor
  }

  /** Asks the archive; whatever there is afterwards is to be read. @throws {ContextdError} the archive failed, or is damaged */
  restore(base: Head): Promise<void> {
    this.#asking ??= this.#ask(base).finally(() => {
      this.#asking = null
    })
    return this.#asking
  }

  async #ask(base: Head): Promise<void> {
    if ((await this.#archivist.restore(this.#contextId, base)) === null) this.#nothingFor = base.revision
  }
}
