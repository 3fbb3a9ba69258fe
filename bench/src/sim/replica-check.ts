import type { Head, JsonObject } from '@contextd/protocol'
import type { Replica, ReplicaEvent } from '@contextd/client/cores'
import { sameState, show } from './ledger.ts'
import type { Ledger, Relation } from './ledger.ts'
import { Violation } from './violation.ts'
import type { World } from './world.ts'
import type { BookedWrite } from './write-book.ts'
import { holds } from './workload.ts'

/** An own write, and the head on which it was made. */
interface Own {
  readonly write: BookedWrite
  readonly head: Head | null
}
/** Own writes that are watched for staying visible. */
const watched = 10

/**
 * Watches one replica after each of its inputs: it moves on along the true history only, says so when the history changed and only then (G6, G7),
 * shows what the history holds (G5), and keeps its own writes visible until their verdict, and after it as long as the history has them (G6).
 */
export class ReplicaCheck {
  readonly #world: World
  readonly #ledger: Ledger
  readonly #replica: Replica
  readonly #who: string
  #head: Head | null = null
  /** Incarnation of the last head that was not absent. */
  #incarnation = ''
  #own: Own[] = []
  #deletes: BookedWrite[] = []
  /** The client was told that a write of its own is applied to the context that it still sees as absent. */
  #createdUnseen = false
  /** Rollbacks that the client may know of: those before its last sync. */
  #rollbacksAtSync = 0
  #rollbacksTold = 0
  #inputs = 0
  /** How often it came to an absent head. */
  #absences = 0

  constructor(world: World, contextId: string, replica: Replica, who: string) {
    this.#world = world
    this.#ledger = world.ledger(contextId)
    this.#replica = replica
    this.#who = who
  }

  /** Life of the context that a write is for; null: whatever comes after a delete that is pending. */
  incarnationToWriteOn(): string | null {
    const deleted = this.#deletes.some(({ told }) => told === null || told.type === 'applied')
    return deleted ? null : (this.#replica.head?.incarnation ?? '')
  }

  /** The absent head that a write is made on; null: there is a state, or a delete is pending. */
  absentHead(): string | null {
    const { head } = this.#replica
    return head?.version === 0 && this.incarnationToWriteOn() !== null ? `${head.revision} ${this.#absences}` : null
  }

  wrote(write: BookedWrite): void {
    if (!write.plain) return
    this.#own.push({ write, head: this.#replica.head })
    if (this.#own.length > watched) this.#own.shift()
  }

  /** The client deletes the context: what it wrote before is gone from its screen. */
  deleted(write: BookedWrite): void {
    this.#deletes.push(write)
    this.#own = []
  }

  /** The session was replaced: what was told and not seen yet comes back with the next sync, and what was written on a context that it made too. */
  renewed(): void {
    this.#own = this.#own.filter(({ write }) => write.told === null && !(this.#createdUnseen && write.incarnation === ''))
    this.#absences += 1
  }

  syncSent(): void {
    this.#rollbacksAtSync = this.#ledger.rollbacks
  }

  /** To be called after each input, with the events that it brought. */
  after(events: readonly ReplicaEvent[]): void {
    const resets: string[] = []
    let deleted = false
    for (const event of events) {
      if (event.type === 'settled') {
        this.#world.book.settled(event.id, event.verdict, event.head)
        if (event.verdict === 'applied' && this.#head?.version === 0) this.#createdUnseen = true
      }
      if (event.type === 'refused') this.#world.book.refused(event.id, event.error.code)
      else if (event.type === 'reset') resets.push(event.reason)
      else if (event.type === 'deleted') deleted = true
    }
    this.#checkMove(resets, deleted)
    // What was told is gone with the history that had it, even where that one has come back since.
    if (resets.length > 0) this.#own = this.#own.filter(({ write }) => write.told === null)
    this.#checkVisible()
    this.#inputs += 1
    if (this.#inputs % 8 === 0) this.#checkState()
  }

  /** At the end, when all is quiet: the replica is where the store is. */
  finish(): void {
    const replica = this.#replica
    const { head, state } = this.#ledger
    const where = `${this.#who} is ${replica.phase} at ${show(replica.head)}, the store at ${show(head)}`
    if (replica.pending > 0) throw new Violation('pending', `${where}; ${replica.pending} commits wait for ever`)
    if (replica.head === null || replica.head.version !== head.version || (head.version > 0 && replica.head.revision !== head.revision)) {
      throw new Violation('convergence', where)
    }
    const phases = head.version > 0 ? ['live'] : ['absent', 'deleted']
    if (!phases.includes(replica.phase)) throw new Violation('convergence', where)
    if (head.version > 0 && !sameState(replica.shown, state)) throw new Violation('convergence', `${where}; its state is another`)
  }

  #checkMove(resets: readonly string[], deleted: boolean): void {
    const from = this.#head
    const to = this.#replica.head
    if (from === to && resets.length === 0) return
    const where = `${this.#who} goes from ${show(from)} to ${show(to)}`
    if (to !== null && to.version > 0 && this.#ledger.commitOf(to) === null) throw new Violation('history', `${where}, which never was`)
    const relation = this.#ledger.relation(from, to)
    if (relation === 'back' && this.#ledger.rollbacks === 0) throw new Violation('monotonic', where)
    // What a trimmed log cannot tell is no rollback to anybody.
    const unseen = relation === 'diverged' && from !== null && this.#ledger.trimmedTo > from.version + 1
    if (mustBeTold(relation) && !unseen && resets.length === 0 && !(relation === 'gone' && deleted)) {
      throw new Violation('reset', `${where} (${relation}), and the application is not told`)
    }
    for (const reason of resets) this.#checkReset(reason, from, relation, where)
    this.#head = to
    this.#createdUnseen = false
    if (to?.version === 0 && !(from !== null && from.revision === to.revision && from.version === 0)) this.#absences += 1
    // A delete that was told is seen when the context is in another life than the one that it ends, or in none.
    if (from?.incarnation !== to?.incarnation)
      this.#deletes = this.#deletes.filter(({ told, incarnation }) => told === null || incarnation === to?.incarnation)
    if (to !== null && to.version > 0) this.#incarnation = to.incarnation
  }

  #checkReset(reason: string, from: Head | null, relation: Relation, where: string): void {
    const { rollbacks } = this.#ledger
    if (reason === 'rolled_back') {
      const off = relation === 'diverged' || relation === 'back'
      // A fence behind a trimmed log is told as well: nobody can tell whether the head is in the history (P11).
      const unprovable = rollbacks > 0 && from !== null && this.#ledger.trimmedTo > from.version + 1
      if (!off && !unprovable && rollbacks <= this.#rollbacksTold) {
        throw new Violation('reset', `${where} (${relation}), told rolled_back without a rollback`)
      }
      this.#rollbacksTold = this.#rollbacksAtSync
    } else if (reason === 'recreated') {
      const to = this.#replica.head
      if (to === null || to.version === 0 || to.incarnation === this.#incarnation) {
        throw new Violation('reset', `${where} (${relation}), told recreated`)
      }
    } else throw new Violation('reset', `${where} (${relation}), told ${reason}`)
  }

  #checkVisible(): void {
    const { shown, head } = this.#replica
    this.#own = this.#own.filter((own) => this.#mustBeVisible(own))
    if (this.#own.length === 0 || head === null) return
    for (const { write } of this.#own) {
      if (!holds(shown, write.token)) {
        throw new Violation(
          'own writes',
          `${this.#who} at ${show(head)} no longer shows ${write.token} (told ${write.told?.type ?? 'nothing yet'})`,
        )
      }
    }
  }

  #mustBeVisible({ write: { token, told, incarnation, sent }, head: headThen }: Own): boolean {
    const head = this.#replica.head
    if (incarnation === null) return false
    if (told?.type === 'refused' || told?.type === 'nothing') return false
    if (incarnation !== '') {
      if (head?.incarnation !== incarnation) return false
    } else if (!sent && (head !== headThen || this.#ledger.rollbacks > 0)) return false
    if (told === null) return true
    return this.#ledger.eventsOf(token).some((commit) => commit.lost === null)
  }

  #checkState(): void {
    const { head, idle, shown } = this.#replica
    if (!idle || head === null || head.version === 0) return
    const expected: JsonObject | undefined = this.#ledger.commitOf(head)?.state
    if (!sameState(shown, expected)) throw new Violation('state', `${this.#who} at ${show(head)} shows another state`)
  }
}

const mustBeTold = (relation: Relation): boolean =>
  relation === 'back' || relation === 'diverged' || relation === 'other incarnation' || relation === 'gone'
