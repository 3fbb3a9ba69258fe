import { ContextdError, formats } from '@contextd/protocol'
import type { Delta, DeltaFormat, JsonObject } from '@contextd/protocol'
import type { Step } from './history.ts'
import { frozen } from '../json-copy.ts'
import { synchronous } from '../application-code.ts'
import { verboseDelta } from './verbose-delta.ts'

/** Shapes deltas as the application has chosen. */
export class Formatter {
  readonly #format: DeltaFormat<unknown>
  /** Steps as formatted, so that many subscribers share one. */
  readonly #formatted = new WeakMap<Step, Delta<unknown>>()

  constructor(format: DeltaFormat<unknown>) {
    this.#format = format
  }

  /** Whether it looks at the changes of a delta: the verbose format looks at the states alone. */
  get needsChanges(): boolean {
    return this.#format !== formats.verbose
  }

  /** The delta of a step, the same one for all who are told it. @throws {ContextdError} `aborted` – the format of the application failed */
  delta(step: Step): Delta<unknown> {
    const known = this.#formatted.get(step)
    if (known) return known
    const formatted = this.deltaOnce(step)
    this.#formatted.set(step, formatted)
    return formatted
  }

  /** The delta of a step that nobody else is told; what a format is given is frozen. @throws {ContextdError} `aborted` – as `delta` */
  deltaOnce(step: Step): Delta<unknown> {
    const { contextId, baseVersion, version, revision, committedAt, author, changes } = step.delta
    const of = <C>(shaped: C): Delta<C> => ({
      contextId,
      baseVersion,
      version,
      revision,
      changes: shaped,
      committedAt,
      author: { userId: author.userId, actor: author.actor },
    })
    if (!this.needsChanges) return of(baseVersion === version ? {} : verboseDelta(changes, () => frozenStates(step)))
    const { before, after } = frozenStates(step)
    return of(this.#changes(of(frozen([...changes])), before, after))
  }

  #changes(delta: Delta, before: JsonObject, after: JsonObject): unknown {
    try {
      return synchronous(this.#format(delta, { before, after }), 'deltaFormat returned a promise. It must be synchronous.')
    } catch (error) {
      const { contextId, version } = delta
      const message = `deltaFormat failed on the delta that leads to version ${version} of ${contextId}. The version is stored all the same.`
      throw new ContextdError('aborted', message, { contextId, details: { version }, cause: error })
    }
  }
}

const frozenStates = ({ before, after }: Step): { before: JsonObject; after: JsonObject } => ({
  before: frozen(before),
  after: frozen(after),
})
