import type { JsonObject } from '@contextd/protocol'

/** A write that a child made, as it tells. Times are ms on the clock of the machine. */
export interface MixedWrite {
  readonly type: 'write'
  /** `<process>.<writer>.<number>`, with `<` or `>` for the two of a section. */
  readonly token: string
  readonly contextId: string
  readonly kind: 'transact' | 'update' | 'class' | 'section' | 'turn'
  readonly begun: number
  readonly ended: number
  /** `refused`: nothing was stored; `unknown`: nobody can tell. */
  readonly outcome: 'stored' | 'refused' | 'unknown'
  readonly version?: number
  readonly revision?: string
  readonly code?: string
  readonly message?: string
}

/** A lock, as long as a process took it for held. */
export interface MixedHold {
  readonly token: string
  readonly contextId: string
  readonly key: string
  readonly granted: number
  /** End of the lease, at the earliest; or when it was given back, or its holder killed. */
  until: number
}

/** A commit, as the observer was told. */
export interface MixedCommit {
  readonly version: number
  readonly revision: string
  readonly changes: readonly { readonly path: readonly unknown[]; readonly value?: unknown }[]
}

/** What a run left behind. */
export interface MixedRun {
  readonly writes: readonly MixedWrite[]
  readonly holds: readonly MixedHold[]
  /** Processes that were killed: the last writes of these may not have been told. */
  readonly killed: ReadonlySet<string>
  /** By context: commits as the observer was told them, the log as it is stored, and the state. */
  readonly contexts: ReadonlyMap<
    string,
    { readonly seen: readonly MixedCommit[]; readonly log: readonly MixedCommit[]; readonly version: number; readonly state: JsonObject }
  >
}

/** A commit with the write that it is of, as far as it was told. */
interface Placed {
  readonly version: number
  readonly revision: string
  readonly token: string
  readonly text: string
  readonly write: MixedWrite | undefined
}

const tokenPattern = /[a-z]+\d+\.\d+\.\d+[<>]?/g

/** Everything that is wrong with a run, each in a line; none: nothing is. */
export function faultsOf(run: MixedRun): string[] {
  const faults: string[] = []
  const written = new Map(run.writes.map((write) => [write.token, write]))
  const placed = new Map<string, string>()
  for (const [contextId, { seen, log, version, state }] of run.contexts) {
    const say = (text: string): void => void faults.push(`${contextId}: ${text}`)
    checkVersions(seen, log, version, say)
    const commits = seen.filter((commit) => commit.version > 1).map((commit) => place(commit, written, say))
    for (const { token, version: at } of commits) {
      if (placed.has(token)) say(`${token} is stored twice: at version ${at}, and ${placed.get(token)}`)
      placed.set(token, `${contextId} version ${at}`)
    }
    checkState(commits, state, say)
    checkSections(commits, say)
    checkOrder(commits, say)
  }
  for (const write of run.writes) checkOutcome(write, placed.get(write.token), (text) => faults.push(text))
  checkUntold(run, written, placed, (text) => faults.push(text))
  checkHolds(run, (text) => faults.push(text))
  return faults
}

type Say = (text: string) => void

/** G1: versions 1, 2, 3, … with no gap and no repeat, to the observer as in the log, and each revision once. */
function checkVersions(seen: readonly MixedCommit[], log: readonly MixedCommit[], version: number, say: Say): void {
  for (const [where, commits] of [['observer', seen] as const, ['log', log] as const]) {
    const versions = commits.map((commit) => commit.version)
    const wrong = versions.findIndex((each, index) => each !== index + 1)
    if (wrong !== -1) say(`${where}: version ${versions[wrong]} in place of ${wrong + 1}`)
    if (versions.length !== version) say(`${where}: ${versions.length} commits, and the head is at ${version}`)
    if (new Set(commits.map(({ revision }) => revision)).size !== commits.length) say(`${where}: a revision twice`)
  }
  const other = seen.findIndex(({ revision }, index) => revision !== log[index]?.revision)
  if (other !== -1) say(`version ${other + 1} of the observer is not that of the log`)
}

function place({ version, revision, changes }: MixedCommit, written: ReadonlyMap<string, MixedWrite>, say: Say): Placed {
  const text = JSON.stringify(changes.map(({ path, value }) => [path, value]))
  const tokens = new Set(text.match(tokenPattern))
  if (tokens.size !== 1) say(`version ${version} holds ${tokens.size} writes: ${[...tokens].join(' ')}`)
  const token = [...tokens][0] ?? ''
  const write = written.get(token)
  if (write?.version !== undefined && (write.version !== version || write.revision !== revision)) {
    say(`${token} was told version ${write.version}, and is version ${version}`)
  }
  return { version, revision, token, text, write }
}

/** No update is lost: the state is what the log says, counted and listed. */
function checkState(commits: readonly Placed[], state: JsonObject, say: Say): void {
  const { count, entries, marks, turn } = state as {
    count: number
    entries: string[]
    marks: Record<string, true>
    turn: { count: number; token: string }
  }
  const of = (part: string): Placed[] => commits.filter(({ text }) => text.includes(`["${part}`))
  const listed = of('entries').map(({ token }) => token)
  if (count !== listed.length || entries.join() !== listed.join())
    say(`count ${count}, ${entries.length} entries, ${listed.length} commits`)
  const marked = of('marks').map(({ token }) => token)
  if (Object.keys(marks).toSorted().join() !== marked.toSorted().join()) say(`${Object.keys(marks).length} marks of ${marked.length}`)
  const turns = of('turn')
  if (turn.count !== turns.length || turn.token !== (turns.at(-1)?.token ?? '')) say(`turn ${turn.count} after ${turns.length} turns`)
  turns.forEach(({ text, token }, index) => {
    if (!text.includes(`"count"],${index + 1}]`) && !text.includes(`"count":${index + 1},`))
      say(`turn ${index + 1} is not counted so: ${token}`)
  })
  const own = new Map(of('own-').map(({ text, token }) => [/own-[^"]+/.exec(text)![0], token]))
  for (const [key, token] of own) if (state[key] !== token) say(`${key} is ${JSON.stringify(state[key])}, not ${token}`)
}

/** No two holders: sections do not overlap, and their tokens only grow. */
function checkSections(commits: readonly Placed[], say: Say): void {
  let inside = ''
  let last = 0
  for (const { text, token } of commits) {
    const lock = Number(/[<>] (\d+)/.exec(text)?.[1])
    if (token.endsWith('<')) {
      if (lock <= last) say(`${token} entered with token ${lock} after ${last}`)
      inside = token.slice(0, -1)
      last = lock
    } else if (token.endsWith('>')) {
      if (token.slice(0, -1) !== inside || lock !== last)
        say(`${token} (token ${lock}) was written inside the section of ${inside} (${last})`)
      inside = ''
    }
  }
}

/** What was acknowledged before another write began comes before it; the writes of one writer are in their order. */
function checkOrder(commits: readonly Placed[], say: Say): void {
  let first = Number.POSITIVE_INFINITY
  let whose = ''
  for (const { write, token } of commits.toReversed()) {
    if (write !== undefined && write.begun > first) say(`${token} began after ${whose} was acknowledged, and is before it`)
    if (write?.outcome !== 'stored' || write.ended > first) continue
    first = write.ended
    whose = token
  }
}

/** G3, G4: what was acknowledged is there, what was refused is not. */
function checkOutcome({ token, outcome, code, message }: MixedWrite, at: string | undefined, say: Say): void {
  if (outcome === 'stored' && at === undefined) say(`${token} was acknowledged, and is lost`)
  if (outcome !== 'refused') return
  if (at !== undefined) say(`${token} was refused (${code}), and is stored: ${at}`)
  if (code !== 'backend_unavailable' && code !== 'locked') say(`${token} was refused: ${code}: ${message}`)
}

/** What nobody was told of is the last write of a writer that was killed. */
function checkUntold(run: MixedRun, written: ReadonlyMap<string, MixedWrite>, placed: ReadonlyMap<string, string>, say: Say): void {
  const untold = new Map<string, string>()
  for (const [token, at] of placed) {
    if (written.has(token)) continue
    const [name, writer] = token.split('.') as [string, string]
    const before = untold.get(`${name}.${writer}`)
    if (!run.killed.has(name) || before !== undefined) say(`${token} (${at}) was never told`)
    untold.set(`${name}.${writer}`, token)
  }
}

/** A lock is held by one at a time, and is not lost before its lease is over. */
function checkHolds({ holds, writes }: MixedRun, say: Say): void {
  const latest = new Map<string, MixedHold>()
  for (const hold of holds.toSorted((a, b) => a.granted - b.granted)) {
    // Its holder heard of it too late, and may not write.
    if (hold.granted >= hold.until) continue
    const lock = `${hold.contextId} ${hold.key}`
    const last = latest.get(lock)
    if (last && hold.granted < last.until) {
      say(`lock ${lock}: ${hold.token} got it ${(last.until - hold.granted).toFixed(1)} ms before ${last.token} had done`)
    }
    if (!last || hold.until > last.until) latest.set(lock, hold)
  }
  const byToken = new Map(holds.map((hold) => [hold.token, hold]))
  for (const { token, code, ended } of writes) {
    const until = byToken.get(token.replace(/[<>]$/, ''))?.until
    if (code === 'locked' && (until === undefined || ended < until)) say(`${token} was refused as locked before its lease was over`)
  }
}
