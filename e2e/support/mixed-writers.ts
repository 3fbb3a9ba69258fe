import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { createContexts } from 'contextd'
import { redisBackend } from 'contextd/backends/redis'
import type { RedisBackendOptions } from 'contextd/backends/redis'
import type { MixedCommit, MixedHold, MixedRun, MixedWrite } from './mixed-writers-checks.ts'
import { until } from './wait.ts'

/** What is written, and on what. */
export interface MixedWritersOptions {
  /** For `redisBackend`, of this process and of the children: no more than JSON. */
  readonly redis: RedisBackendOptions
  readonly processes: number
  /** Of each process, at the same time. */
  readonly writers: number
  /** Of each writer, one after another, at least: they go on until nothing more is done to them. */
  readonly writes: number
  readonly ids: readonly string[]
  /** Length of the leases of locks, ms. */
  readonly leaseMs: number
}

type Told =
  | { readonly type: 'ready' | 'done' }
  | MixedWrite
  | (MixedHold & { readonly type: 'held' })
  | { readonly type: 'freed'; readonly token: string; readonly at: number }
  | { readonly type: 'failed'; readonly token: string; readonly message: string }

const script = fileURLToPath(new URL('../integration/children/mixed-writer.mjs', import.meta.url))
const letters = 'abcdefgh'

/** On the clock of the machine, as the children tell times. */
const now = (): number => Number(process.hrtime.bigint()) / 1e6

/**
 * Processes of many writers each on the same contexts: `transact`, `update`, `Contextd.updateContext`, commits under locks, read-compute-write
 * under locks of the class. Each commit holds one write that has a name, so that the log can be held against what each writer was told.
 */
export class MixedWriters {
  readonly #options: MixedWritersOptions
  readonly #writes: MixedWrite[] = []
  readonly #holds = new Map<string, MixedHold>()
  readonly #killed = new Set<string>()
  readonly #children: ChildProcess[] = []
  readonly #lives: number[] = []
  #running = 0
  readonly #failures: string[] = []
  #stored = 0
  #ended = false

  constructor(options: MixedWritersOptions) {
    this.#options = options
  }

  /** How many writes were acknowledged. */
  get stored(): number {
    return this.#stored
  }

  /** Runs all writers to their end, and `disturb` beside them. @throws {Error} a process failed */
  async run(disturb: () => Promise<void>): Promise<MixedRun> {
    const { ids, processes, redis } = this.#options
    const contexts = createContexts({ backend: redisBackend(redis), deltaFormat: 'changes' })
    const seen = new Map<string, MixedCommit[]>(ids.map((id) => [id, []]))
    try {
      for (const [id, commits] of seen) {
        contexts.subscribe(id, ({ version, revision, changes }) => commits.push({ version, revision, changes }))
        await contexts.get(id)
        await contexts.set(id, { count: 0, entries: [], marks: {}, sections: [], turn: { count: 0, token: '' } })
      }
      await until('the observer follows', () => [...seen.values()].every(({ length }) => length === 1))
      await Promise.all(Array.from({ length: processes }, (_, index) => this.#start(index)))
      for (const child of this.#children) child.send('go')
      await disturb()
      this.#ended = true
      for (const child of this.#children) if (child.connected) child.send('end')
      await this.#untilDone('all writers are done', () => this.#running === 0)
      return { writes: this.#writes, holds: [...this.#holds.values()], killed: this.#killed, contexts: await outcome() }
    } finally {
      for (const child of this.#children) child.kill('SIGKILL')
      await contexts.close()
    }

    async function outcome(): Promise<MixedRun['contexts']> {
      const all = new Map<string, MixedRun['contexts'] extends ReadonlyMap<string, infer C> ? C : never>()
      for (const [id, commits] of seen) {
        const { version, state } = (await contexts.get(id))!
        await until(`the observer is at version ${version} of ${id}`, () => commits.some((commit) => commit.version >= version))
        const log = await contexts.history(id, { limit: version + 1 })
        all.set(id, { seen: commits, log: log.toReversed(), version, state })
      }
      return all
    }
  }

  /** Resolves when a part of all writes is acknowledged. */
  async reached(part: number): Promise<void> {
    const { processes, writers, writes } = this.#options
    const enough = part * processes * writers * writes
    await this.#untilDone(`${part} of all is written`, () => this.#stored >= enough)
  }

  /** Kills a process in the middle of its writes; it begins again under another name, with as much to do. */
  async crash(index: number): Promise<void> {
    const child = this.#children[index]!
    const name = this.#name(index)
    this.#killed.add(name)
    const ended = once(child, 'exit')
    const at = now()
    child.kill('SIGKILL')
    await ended
    for (const hold of this.#holds.values()) if (hold.token.startsWith(`${name}.`)) hold.until = Math.min(hold.until, at)
    this.#start(index).then(
      (next) => next.send(this.#ended ? 'end' : 'go'),
      (error: unknown) => this.#failures.push(String(error)),
    )
  }

  /** Stops a process where it is, for a while. */
  async pause(index: number, ms: number): Promise<void> {
    const child = this.#children[index]!
    child.kill('SIGSTOP')
    await new Promise((resolve) => setTimeout(resolve, ms))
    child.kill('SIGCONT')
  }

  /** @throws {Error} a process failed, or nothing goes on */
  async #untilDone(what: string, holds: () => boolean): Promise<void> {
    const failed = (): boolean => this.#failures.length > 0
    await until(what, () => holds() || failed(), 60_000).catch((error: unknown) => this.#failures.push(String(error), ...this.#refusals()))
    if (failed()) throw new Error(this.#failures.slice(0, 10).join('\n'))
  }

  /** Why writes were refused, and how often. */
  #refusals(): string[] {
    const counts = new Map<string, number>()
    for (const { outcome, code, message } of this.#writes) {
      if (outcome !== 'stored') counts.set(`${outcome} ${code}: ${message}`, (counts.get(`${outcome} ${code}: ${message}`) ?? 0) + 1)
    }
    return [...counts].map(([why, count]) => `${count} × ${why}`)
  }

  #name(index: number): string {
    return `${letters[index]!}${this.#lives[index]!}`
  }

  async #start(index: number): Promise<ChildProcess> {
    const { redis, writers, writes, ids, leaseMs } = this.#options
    this.#lives[index] = (this.#lives[index] ?? 0) + 1
    const name = this.#name(index)
    const child = fork(script, [JSON.stringify({ redis, name, writers, writes, ids, leaseMs })], { execArgv: [] })
    this.#children[index] = child
    this.#running += 1
    await new Promise<void>((resolve, reject) => {
      child.on('message', (told: Told) => {
        if (told.type === 'ready') resolve()
        else this.#hear(told)
      })
      child.once('exit', (code, signal) => {
        this.#running -= 1
        if (code !== 0 && !this.#killed.has(name)) this.#failures.push(`${name} ended with ${code ?? signal}`)
        reject(new Error(`${name} ended before it was ready`))
      })
    })
    return child
  }

  #hear(told: Told): void {
    if (told.type === 'failed') this.#failures.push(`${told.token}: ${told.message}`)
    else if (told.type === 'held') this.#holds.set(told.token, { ...told })
    else if (told.type === 'freed') {
      const hold = this.#holds.get(told.token)!
      hold.until = Math.min(hold.until, told.at)
    } else if (told.type === 'write') {
      this.#writes.push(told)
      if (told.outcome === 'stored') this.#stored += 1
    }
  }
}
