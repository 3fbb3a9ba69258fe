import type { ContextBackend } from '../backends/backend.ts'
import { archiveCases } from './contract/archive-cases.ts'
import { commitCases } from './contract/commit-cases.ts'
import { handleCases } from './contract/handle-cases.ts'
import type { KitCase, StoreUnderTest } from './contract/kit.ts'
import { lifeCases } from './contract/life-cases.ts'
import { listCases } from './contract/list-cases.ts'
import { lockCases } from './contract/lock-cases.ts'
import { lockedCommitCases } from './contract/locked-commit-cases.ts'
import { raceCases } from './contract/race-cases.ts'
import { streamCases } from './contract/stream-cases.ts'
import { syncCases } from './contract/sync-cases.ts'
import { pruneCases, staleCases } from './contract/upkeep-cases.ts'

export type { StoreUnderTest } from './contract/kit.ts'

/** One case of the contract; `run` throws where the backend does not keep it. */
export interface ContractCase {
  /** The fact that it checks. */
  readonly name: string
  readonly run: () => Promise<void>
}

const allCases: readonly KitCase[] = [
  ...commitCases,
  ...streamCases,
  ...syncCases,
  ...lifeCases,
  ...listCases,
  ...lockCases,
  ...lockedCommitCases,
  ...archiveCases,
  ...staleCases,
  ...pruneCases,
  ...raceCases,
  ...handleCases,
]

/** Options of {@link backendContract}. */
export interface ContractOptions {
  /** Makes an empty store, for one case, and hands out backends on it. */
  readonly create: () => StoreUnderTest | Promise<StoreUnderTest>
  /** How long to wait until one backend hears of what another has stored, ms. Default 10,000. */
  readonly patienceMs?: number
}

/**
 * What every backend must do, as cases for any test runner:
 *
 *     for (const { name, run } of backendContract({ create: () => ({ handle: () => new MyBackend(database) }) })) test(name, run)
 */
export function backendContract(options: ContractOptions): ContractCase[] {
  return allCases.map(({ name, run }) => ({ name, run: () => runCase(run, options) }))
}

async function runCase(run: KitCase['run'], { create, patienceMs = 10_000 }: ContractOptions): Promise<void> {
  const store = await create()
  const handles = new Set<ContextBackend>()
  const another = async (): Promise<ContextBackend> => {
    const backend = store.handle()
    handles.add(backend)
    await backend.open()
    return backend
  }
  try {
    await run({ backend: await another(), another, patienceMs })
  } finally {
    for (const backend of handles) await backend.close()
    await store.remove?.()
  }
}
