import { applyChanges, revisionOf, shareIdentity, unpackChanges } from '@contextd/protocol'
import type { Change, DeltaFrame, Head, JsonObject, JsonValue, SyncReply } from '@contextd/protocol'
import type { Outbox } from './outbox.ts'
import { didExactly } from './shown-state.ts'
import type { ShownState } from './shown-state.ts'

/** A commit as subscribers are told of it, once its frame is taken apart. */
interface ToldCommit {
  readonly revision: string
  readonly actor: string
  readonly seq: number
  readonly packed: readonly JsonValue[]
}
type Answer = SyncReply['answer']

/** The server's state as far as it is known, and what moves it on: deltas (P9) and answers to syncs (P10). */
export class Confirmed {
  /** Version 0: known to be absent; null: nothing is known. */
  head: Head | null = null
  /** Public tag of the session, by which its own commits are seen. */
  actor: string | null = null
  /** Life that was shown last; `''`: none yet. */
  life = ''
  readonly #outbox: Outbox
  readonly #shown: ShownState
  readonly #itemKey: string

  constructor(outbox: Outbox, shown: ShownState, itemKey: string) {
    this.#outbox = outbox
    this.#shown = shown
    this.#itemKey = itemKey
  }

  is(head: Head): boolean {
    const mine = this.head
    return mine !== null && head.incarnation === mine.incarnation && head.version === mine.version && head.revision === mine.revision
  }
  /** Whether deltas that are still to come may lead there. */
  isBehind(head: Head | null): boolean {
    const mine = this.head
    return mine !== null && head !== null && head.incarnation === mine.incarnation && head.version > mine.version
  }

  forget(): void {
    this.head = null
    this.life = ''
    this.#outbox.incarnation = ''
    this.#shown.confirm({ state: null, incarnation: '' })
  }

  /** Takes a delta; false: it does not follow from what is known. @throws {ContextdError} it cannot be applied */
  take([, incarnation, baseVersion, baseRevision, token, , authors, list]: DeltaFrame): boolean {
    const mine = this.head
    if (mine === null) return false
    const known = mine.version - baseVersion
    // A life that was shown and is over is not created again: that delta is late. Absent from the start is the same head each time.
    const creates = mine.version === 0 && baseVersion === 0 && incarnation !== this.life
    const sameLife = mine.incarnation === incarnation || creates
    if (sameLife && known >= list.length) return true
    const revision = known === 0 ? baseRevision : revisionOf(token, known - 1)
    // P9: a delta is applied only on the very version that it was made on.
    const fits = sameLife && known >= 0 && revision === mine.revision
    if (!fits) return false
    const commits = list.slice(known).map(([author, seq, packed], index): ToldCommit => {
      return { revision: revisionOf(token, known + index), actor: authors[author]?.[1] ?? '', seq, packed }
    })
    this.#advance(incarnation, mine, commits)
    return true
  }

  /** Takes the state out of an answer; false: it does not fit what is known. @throws {ContextdError} it cannot be applied */
  takeAnswer(answer: Exclude<Answer, { type: 'expired' }>): boolean {
    if (answer.type === 'same') return this.is(answer.head)
    if (answer.type === 'absent') this.#confirm(answer.head, null)
    else if (answer.type === 'full') {
      const { head, state } = answer
      if (typeof state !== 'object' || state === null || Array.isArray(state)) return false
      this.#confirm(head, shareIdentity(this.#shown.confirmed.state, state, { itemKey: this.#itemKey }))
    } else {
      if (this.head === null) return false
      const { authors, commits } = answer
      const told = commits.map(([revision, , author, seq, packed]): ToldCommit => ({
        revision,
        actor: authors[author]?.[1] ?? '',
        seq,
        packed,
      }))
      this.#advance(this.head.incarnation, this.head, told)
    }
    return true
  }

  /** Forgets commits that made no change, once the version is reached at which they made none (P8). */
  leaveReached(): void {
    this.#outbox.leaveReached((head) => head.incarnation === this.head?.incarnation && !this.isBehind(head))
  }

  /** Takes commits in one pass; those of this session are seen now (P8). */
  #advance(incarnation: string, from: Head, commits: readonly ToldCommit[]): void {
    let { state } = this.#shown.confirmed
    const changes: Change[] = []
    let head = from
    const own: { readonly seq: number; readonly head: Head }[] = []
    for (const { revision, actor, seq, packed } of commits) {
      head = { incarnation, version: head.version + 1, revision }
      const mine = seq > 0 && actor === this.actor
      if (mine) own.push({ seq, head })
      const unpacked = unpackChanges(packed)
      const entry = mine && changes.length === 0 ? this.#outbox.get(seq) : undefined
      if (entry && didExactly(entry, state, unpacked)) state = entry.after
      else for (const change of unpacked) changes.push(change)
    }
    if (changes.length > 0) state = applyChanges(state ?? {}, changes)
    this.#confirm(head, state ?? {})
    for (const seen of own) this.#outbox.tell(seen.seq, { type: 'applied', head: seen.head }, true)
    this.leaveReached()
  }

  #confirm(head: Head, state: JsonObject | null): void {
    this.head = head
    this.#outbox.incarnation = head.incarnation
    if (head.version > 0) this.life = head.incarnation
    this.#shown.confirm({ state, incarnation: head.incarnation })
  }
}
