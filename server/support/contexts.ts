import { expect, onTestFinished } from 'vitest'
import { contextsWith } from '../src/contexts/contexts.ts'
import type { Contexts } from '../src/contexts/contexts.ts'
import type { Timing } from '../src/engine/timing.ts'

/** Contexts of one test, closed with it; deltas list their changes. */
export function create(options: Parameters<typeof contextsWith>[0] = {}, timing: Partial<Timing> = {}): Contexts<{}, unknown> {
  const contexts = contextsWith({ deltaFormat: 'changes', ...options }, timing)
  onTestFinished(() => contexts.close())
  return contexts
}

export const increment = [{ type: 'increment', path: ['n'], by: 1 }] as const
/** An error of ours with this code. */
export const code = (expected: string): object => expect.objectContaining({ name: 'ContextdError', code: expected })
