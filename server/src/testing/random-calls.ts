import type { ContextBackend } from '../backends/backend.ts'
import { StoreModel } from '../backends/store-model.ts'
import { CallMaker } from './call-maker.ts'
import type { StoreCall } from './call-maker.ts'
import { Random } from './random.ts'

/** Options of {@link randomCalls}. */
export interface RandomCallsOptions {
  /** The same seed makes the same calls. */
  readonly seed: number
  /** How many calls, at least. */
  readonly calls: number
  /** Open backends on one store that was empty; each call goes to one of them. */
  readonly backends: readonly ContextBackend[]
  /** Start of every context's id. Default none. */
  readonly prefix?: string
  /** Called between groups of calls: closes and opens the store, and returns the backends that go on. */
  readonly reopen?: () => Promise<readonly ContextBackend[]>
  /** How often that is, in groups. Default 100. */
  readonly reopenEvery?: number
}

/** What a run has shown. */
export interface RandomCallsReport {
  readonly calls: number
  /** How often each answer came, so that a run that exercises nothing is noticed. */
  readonly answers: Readonly<Record<string, number>>
}

/**
 * Runs random calls through the store model and through a backend, and compares each answer exactly, and in the end all that is stored.
 * Calls on different contexts are made at once.
 * @throws an error that names the seed and the call, where the answers differ
 */
export async function randomCalls(options: RandomCallsOptions): Promise<RandomCallsReport> {
  const { seed, prefix = '', reopen, reopenEvery = 100 } = options
  const random = new Random(seed)
  const model = new StoreModel()
  const maker = new CallMaker(random, model, prefix)
  const answers: Record<string, number> = {}
  let backends = options.backends
  let calls = 0
  const check = async (group: readonly StoreCall[]): Promise<void> => {
    const expected = group.map((call) => call.onModel(model))
    const actual = await Promise.all(group.map((call) => call.onBackend(random.pick(backends))))
    for (const [index, call] of group.entries()) {
      calls += 1
      const answer = `${call.name} ${outcomeOf(expected[index])}`
      answers[answer] = (answers[answer] ?? 0) + 1
      compare(call, actual[index], expected[index], `seed ${seed}, call ${calls}: ${call.name} ${JSON.stringify(call.input)}`)
    }
  }
  for (let group = 1; calls < options.calls; group += 1) {
    await check(maker.nextGroup())
    if (reopen && group % reopenEvery === 0) backends = await reopen()
  }
  for (const call of maker.lookAtEverything()) await check([call])
  return { calls, answers }
}

function compare(call: StoreCall, actual: unknown, expected: unknown, what: string): void {
  try {
    call.compare(actual, expected)
  } catch (error) {
    throw new Error(`${what}\n${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}

/** Kind of an answer, for the report. */
function outcomeOf(answer: unknown): string {
  if (answer === undefined || typeof answer === 'boolean') return answer ? 'done' : 'nothing'
  if (typeof answer === 'number') return answer > 0 ? 'some' : 'none'
  if (answer === null || Array.isArray(answer)) return answer === null || answer.length === 0 ? 'empty' : 'filled'
  const { type, way, rolledBack, before, missed, answers } = answer as {
    type?: string
    way?: string
    rolledBack?: boolean
    before?: object | null
    missed?: object | null
    answers?: { answer: { type: string } }[]
  }
  if (answers) return [...new Set(answers.map(({ answer: { type: kind } }) => kind))].toSorted().join('+')
  if (missed !== undefined) return missed === null ? 'conflict, no way' : 'conflict'
  return [type ?? 'filled', way, rolledBack && 'rolled back', before && 'fenced'].filter(Boolean).join(', ')
}
