import type { JsonObject, RegisteredContexts } from '@contextd/client'
import { useMemo } from 'react'
import { shallow } from 'zustand/vanilla/shallow'
import { contextStore } from './context-store.ts'
import type { ReadableStore } from './context-store.ts'
import type { ContextdHooks } from './contextd-hooks.ts'
import { useClient } from './provider.ts'
import { useSelected } from './use-selected.ts'
import type { Equals } from './use-selected.ts'

type Registered = ContextdHooks<RegisteredContexts>

/** What null reads: no context, never a state. */
const nothing: ReadableStore<JsonObject | undefined> = {
  getState: () => undefined,
  getInitialState: () => undefined,
  subscribe: () => () => {},
}
const whole = (state: JsonObject): unknown => state

function useAnyContextd(
  id: string | null,
  selector: (state: JsonObject) => unknown = whole,
  equals: Equals<unknown> = defaultEquals(selector),
): unknown {
  const client = useClient('useContextd')
  const store = useMemo(() => (id === null ? nothing : contextStore(client, id)), [client, id])
  return useSelected(store, selector, equals)
}

// A whole state that changed is another object; comparing its keys could only find that out more slowly.
function defaultEquals(selector: (state: JsonObject) => unknown): Equals<unknown> {
  return selector === whole ? Object.is : shallow
}

/**
 * State of a context, or the part that a selector takes of it; renders again when that part is no longer equal (shallowly, or by `equals`).
 * Undefined before the first state (the selector is not called then), when absent without `initial`, and for null.
 * `const votes = useContextd('board:1', (board) => board.votes)`
 * @throws {TypeError} there is no provider, or the id is malformed
 */
export const useContextd = useAnyContextd as Registered['useContextd']
