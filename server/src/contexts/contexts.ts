import type { ContextDefinition, DeltaFormat, InferContexts } from '@contextd/protocol'
import type { Contexts } from './contexts-types.ts'
import { registerEngine } from '../engine/engine.ts'
import { EngineNode } from '../engine/engine-node.ts'
import { NodeContexts } from './node-contexts.ts'
import { settingsOf } from '../options.ts'
import type { ContextsOptions, DeltaFormats } from '../options.ts'
import { defaultTiming } from '../engine/timing.ts'
import type { Timing } from '../engine/timing.ts'

export type { Contexts, EngineState, KnownHead, ListOptions, WriteOptions, WriteResult } from './contexts-types.ts'
export type { Lock, LockOptions } from '../locks/lock-handle.ts'
export type { ContextSource, FetchRun, Materialize, SourceOptions, SourceStatus } from '../sources/source-types.ts'

/** Creates the engine; the type of its deltas follows `deltaFormat`, that of its states `contexts`. @throws {TypeError} an option is malformed. */
export function createContexts<Formatted, const D extends readonly ContextDefinition[] = []>(
  options: ContextsOptions<DeltaFormat<Formatted>, D> & { deltaFormat: DeltaFormat<Formatted> },
): Contexts<InferContexts<D>, Formatted>
export function createContexts<F extends keyof DeltaFormats = 'verbose', const D extends readonly ContextDefinition[] = []>(
  options?: ContextsOptions<F, D>,
): Contexts<InferContexts<D>, DeltaFormats[F]>
export function createContexts(
  options: ContextsOptions<keyof DeltaFormats | DeltaFormat<unknown>, readonly ContextDefinition[]> = {},
): Contexts<{}, unknown> {
  return contextsWith(options)
}

/** As {@link createContexts}, with the timing that tests need. */
export function contextsWith(
  options: ContextsOptions<keyof DeltaFormats | DeltaFormat<unknown>, readonly ContextDefinition[]>,
  timing: Partial<Timing> = {},
): Contexts<{}, unknown> {
  const settings = settingsOf(options)
  const node = new EngineNode(settings, { ...defaultTiming, ...timing })
  const contexts = new NodeContexts(node, settings.format)
  registerEngine(contexts, node)
  // Types by id are for the compiler alone: at run time every state is JSON.
  return contexts as unknown as Contexts<{}, unknown>
}
