import { mutant } from './mutant.ts'
import type { Mutant } from './mutant.ts'

const outbox = 'client/src/outbox.ts'
const confirmed = 'client/src/confirmed.ts'
const syncTurn = 'client/src/sync-turn.ts'
const replica = 'client/src/replica.ts'
const simHandle = 'bench/src/sim/sim-handle.ts'
const keepNumber = 'this.#entries.set(seq, held.get(seq) ?? { ...emptyEntry(seq), sent: true })'

/** Mutants of what the client decides. */
export const clientMutants: readonly Mutant[] = [
  mutant(
    'P3',
    'an unused number is not sent',
    3,
    outbox,
    'if (entry.told !== null || entry.inFlight) continue',
    'if (entry.told !== null || entry.inFlight || entry.id === null) continue',
  ),
  {
    rule: 'P3',
    name: 'an unused number passes for a creating one',
    caughtBy: 'seed-17, writes behind a delete',
    edits: [
      {
        file: outbox,
        find: "if (creating.incarnation !== '' || creating.id === null) return",
        replace: "if (creating.incarnation !== '') return",
      },
      { file: outbox, find: "if (later.incarnation === '') return", replace: "if (later.incarnation === '') continue" },
    ],
  },
  mutant(
    'P9',
    'a late delta creates a life that is over',
    'seed-6175, a late creation of a life that is over',
    confirmed,
    'const creates = mine.version === 0 && baseVersion === 0 && incarnation !== this.life',
    'const creates = mine.version === 0 && baseVersion === 0',
  ),
  mutant(
    'P8',
    'nobody asks for a commit that gets no answer',
    'seed-1740, rolled back to the own head',
    simHandle,
    'now - this.#unanswered.since >= unansweredMs',
    'now - this.#unanswered.since < 0',
  ),
  mutant(
    'P3',
    'commits behind the first creating one do not wait',
    'writes behind a creating one',
    outbox,
    'if (entry.seq > last || entry.incarnation === null) break',
    'if (entry.seq > last) break',
  ),
  mutant(
    'P4',
    'settled is told too early',
    2,
    outbox,
    'return (first ?? this.#next) - 1',
    'return Math.max(this.#next - 1, (first ?? 0) - 1)',
  ),
  mutant(
    'P8',
    'pending leaves when it is told, not when it is seen',
    1,
    outbox,
    'if (seen) this.#leave(entry)',
    'if (seen || entry.told !== null) this.#leave(entry)',
  ),
  mutant('P8', 'pending is not sent again after a sync', 1, outbox, 'entry.inFlight = false\n      if (entry.told', 'if (entry.told'),
  mutant('P9', 'a delta is applied over a gap', 1, confirmed, 'known >= 0 && revision === mine.revision', 'revision !== null'),
  mutant(
    'P9',
    'a delta is applied on another revision of its base',
    'an attempt on a new base',
    confirmed,
    'known >= 0 && revision === mine.revision',
    'known >= 0',
  ),
  mutant(
    'P9',
    'deltas do not wait for a sync in flight',
    2,
    replica,
    'if (!this.#turn.keep(() => this.delta(frame)) && this.upToDate) this.#take(frame)',
    'if (this.head !== null) this.#take(frame)',
  ),
  mutant(
    'P9',
    'the answer to an old sync is taken',
    14,
    syncTurn,
    'if (ticket !== this.#asked) return false',
    'if (ticket < 0) return false',
  ),
  mutant(
    'P11',
    'a number that the store lost and the client no longer holds is left out',
    32,
    outbox,
    keepNumber,
    'if (held.has(seq)) this.#entries.set(seq, held.get(seq)!)',
  ),
  mutant(
    'P11',
    'numbers change over a fence',
    5,
    outbox,
    keepNumber,
    `{
        const moved = held.get(seq)
        const place = record.last + this.#entries.size + 1
        if (moved) this.#entries.set(place, Object.assign(moved, { seq: place }))
      }
    this.#next = record.last + this.#entries.size + 1`,
  ),
  mutant(
    'G5',
    'a head that is older than the own one is no reason to sync',
    'the head goes back and nobody writes',
    replica,
    'if (!this.#confirmed.is({ incarnation: frame[1], version: frame[2], revision: frame[3] })) this.#turn.want()',
    'if (frame[2] > (this.head?.version ?? 0)) this.#turn.want()',
  ),
]
