import { StateDraft, applyChanges } from '@contextd/protocol'
import type { Author, Change, Head, JsonObject, Operation } from '@contextd/protocol'
import { frozenAs } from '../json-copy.ts'
import type { KnownContext } from './known-context.ts'

/**
 * The states that the commits of a batch lead through, from the one that it begins on (0) to the last. They change one state in place; those in
 * between are made when somebody asks for them, since mostly nobody does.
 */
export class BatchStates {
  readonly #itemKey: string
  /** As far as they are made; null: the context is absent. */
  readonly #states: (JsonObject | null | undefined)[]
  /** What leads to each but the first. */
  readonly #changes: (readonly Change[])[] = []
  /** The last state, with what was applied to it since. */
  #draft: StateDraft | null
  /** Number of a state that is made, and since which the draft has copied what is not frozen. */
  #base = 0
  /** What was applied, and neither kept nor dropped; and whether it replaces the whole. */
  #applied: readonly Change[] = []
  #isWhole = false

  constructor(first: JsonObject | null, itemKey: string) {
    this.#itemKey = itemKey
    this.#states = [first]
    this.#draft = this.#drafted(first)
  }

  /** Number of the last state. */
  get last(): number {
    return this.#states.length - 1
  }
  /** Whether the last state is none. */
  get absent(): boolean {
    return this.#draft === null
  }

  /** Whether a state is made. */
  has(index: number): boolean {
    return this.#states[index] !== undefined
  }

  /** A state; it is frozen when the first one is. */
  at(index: number): JsonObject | null {
    const made = this.#states[index]
    if (made !== undefined) return made
    const state = index === this.last ? this.#lastState() : this.#stateAfter(index - 1)
    this.#states[index] = state
    return state
  }

  /** Applies the operations of a commit to the last state; it is to be kept or dropped then. @throws {ContextdError} as `applyOperations` */
  apply(operations: readonly Operation[]): readonly Change[] {
    const draft = this.#draft!
    try {
      this.#applied = draft.apply(operations)
    } catch (error) {
      if (draft.isSpoilt) this.#restart()
      throw error
    }
    const [first] = operations
    this.#isWhole = first?.type === 'set' && first.path.length === 0
    return this.#applied
  }

  /** The state that was come to by what was applied. */
  appliedState(): JsonObject {
    return this.#draft!.release()
  }

  /** What was applied leads to the next state. */
  keep(): void {
    this.#push(this.#applied, undefined)
    // As it was handed in, with its keys in their order.
    if (this.#isWhole) this.at(this.last)
  }

  /** Takes back what was applied, since the commit is refused after all. */
  drop(): void {
    if (this.#applied.length > 0) this.#restart()
  }

  /** The next state is a new one, to which changes lead from `{}`. */
  create(state: JsonObject, changes: readonly Change[]): void {
    this.#draft = this.#drafted(state)
    this.#push(changes, state)
    this.#base = this.last
  }

  #push(changes: readonly Change[], state: JsonObject | undefined): void {
    this.#changes.push(changes)
    this.#states.push(state)
    this.#applied = []
  }

  #drafted(state: JsonObject | null): StateDraft | null {
    return state === null ? null : new StateDraft(state, { itemKey: this.#itemKey })
  }

  /** Begins on the last state again. */
  #restart(): void {
    const state = this.#states[this.last] ?? this.#stateAfter(this.last - 1)
    this.#states[this.last] = state
    this.#applied = []
    this.#draft = this.#drafted(state)
    this.#base = this.last
  }

  #lastState(): JsonObject {
    // What the draft holds is more than that.
    if (this.#applied.length > 0) return this.#stateAfter(this.last - 1)
    const state = frozenAs(this.#states[this.#base]!, this.#draft!.release(), this.#changes.slice(this.#base).flat())
    this.#base = this.last
    return state
  }

  #stateAfter(index: number): JsonObject {
    const before = this.at(index)!
    const changes = this.#changes[index]!
    return frozenAs(before, applyChanges(before, changes), changes)
  }
}

/** A context right after a commit of a batch: its state is made when it is first read. */
export class ContextInBatch implements KnownContext {
  readonly head: Head
  readonly createdAt: number
  readonly updatedAt: number
  readonly updatedBy: Author
  readonly stateSize: number
  readonly snapshotVersion: number
  readonly sinceSnapshotSize: number
  readonly schema: number
  readonly #states: BatchStates
  readonly #index: number

  /** @param states at the state of this context */
  constructor(states: BatchStates, fields: Omit<KnownContext, 'state'>) {
    this.head = fields.head
    this.createdAt = fields.createdAt
    this.updatedAt = fields.updatedAt
    this.updatedBy = fields.updatedBy
    this.stateSize = fields.stateSize
    this.snapshotVersion = fields.snapshotVersion
    this.sinceSnapshotSize = fields.sinceSnapshotSize
    this.schema = fields.schema
    this.#states = states
    this.#index = states.last
  }

  get state(): JsonObject | null {
    return this.#states.at(this.#index)
  }
  get hasState(): boolean {
    return this.#states.has(this.#index)
  }
}

const hasOwnState = (known: KnownContext): boolean => !(known instanceof ContextInBatch)

/** Whether the state of a context is there; else it is made when it is read. */
export const hasState = (known: KnownContext): boolean => hasOwnState(known) || (known as ContextInBatch).hasState

/** A context with its state, and without the batch that made it. */
export const detached = (known: KnownContext): KnownContext => (hasOwnState(known) ? known : { ...known, state: known.state })
