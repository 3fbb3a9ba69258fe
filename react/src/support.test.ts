import type { BaseClient, ConnectionState, ContextStatus, JsonObject } from '@contextd/client'
import { act, cleanup } from '@testing-library/react'
import { createElement, StrictMode } from 'react'
import type { ReactNode } from 'react'
import { afterEach, beforeEach, expect, vi } from 'vitest'
import { createStore } from 'zustand/vanilla'
import type { StoreApi } from 'zustand/vanilla'
import { createContextdHooks } from './create-contextd-hooks.ts'
import { ContextdProvider } from './provider.ts'

export interface Item {
  id: string
  done: boolean
}
export interface Board {
  title: string
  votes: number
  items: Item[]
}
/** The hooks, for contexts that are boards. */
export const boards = createContextdHooks<Record<string, { state: Board }>>()
export const start: Board = { title: 'Plan', votes: 1, items: [{ id: 'a', done: false }] }

/** What a test sees and does behind one id. */
export interface Behind {
  readonly state: StoreApi<{ value: JsonObject | undefined }>
  readonly status: StoreApi<ContextStatus>
  /** How often the handle was subscribed to, how many subscriptions are open, how often it was left. */
  readonly counts: { subscribed: number; open: number; left: number }
}

/**
 * Contexts made of zustand stores, with what the hooks use of a client: what a hook does with its sources can be counted and driven here.
 * Whether the SDK's sources are like these is shown by the tests that run it against a server.
 */
export function createSources(): { client: BaseClient; behind: (id: string) => Behind; connection: StoreApi<ConnectionState> } {
  const contexts = new Map<string, Behind>()
  const connection = createStore<ConnectionState>(() => ({ name: 'idle' }))
  const behind = (id: string): Behind => {
    const found = contexts.get(id)
    if (found) return found
    const made: Behind = {
      state: createStore(() => ({ value: undefined as JsonObject | undefined })),
      status: createStore<ContextStatus>(() => ({
        phase: 'loading',
        version: 0,
        revision: null,
        pending: 0,
        source: 'none',
        access: null,
        error: null,
        reset: null,
      })),
      counts: { subscribed: 0, open: 0, left: 0 },
    }
    contexts.set(id, made)
    return made
  }
  const context = (id: string, options?: { initial?: JsonObject }): object => {
    const { state, status, counts } = behind(id)
    const get = (): JsonObject | undefined => state.getState().value
    return {
      id,
      get,
      getState: get,
      getInitialState: get,
      subscribe: (listener: (value: JsonObject | undefined, previous: JsonObject | undefined) => void) => {
        // Every context here is absent: as long as nobody has written, it reads as what the handle that opens it says.
        if (options?.initial && state.getState().value === undefined) state.setState({ value: options.initial })
        counts.subscribed += 1
        counts.open += 1
        const end = state.subscribe((next, previous) => {
          if (next.value !== previous.value) listener(next.value, previous.value)
        })
        return () => {
          counts.open -= 1
          end()
        }
      },
      status,
      leave: () => {
        counts.left += 1
      },
    }
  }
  return { client: { context, connection } as unknown as BaseClient, behind, connection }
}

/** What every test of the hooks stands on: sources, fake timers, and a console that must stay silent. */
export function useSources() {
  let sources = createSources()
  let errors: unknown[][] = []
  beforeEach(() => {
    vi.useFakeTimers()
    sources = createSources()
    errors = []
    vi.spyOn(console, 'error').mockImplementation((...args) => void errors.push(args))
  })
  afterEach(() => {
    cleanup()
    vi.useRealTimers()
    vi.restoreAllMocks()
    // React says there what it thinks of a loop, of an update while rendering, of a snapshot that is never the same.
    expect(errors).toEqual([])
  })
  const below = ({ children }: { children?: ReactNode }): ReactNode => createElement(ContextdProvider, { client: sources.client }, children)
  return {
    get client() {
      return sources.client
    },
    get connection() {
      return sources.connection
    },
    status: (id: string) => sources.behind(id).status,
    state: (id: string) => sources.behind(id).state,
    counts: (id: string) => sources.behind(id).counts,
    /** Changes a board, or, with undefined, takes its state away. */
    put: (id: string, state: Partial<Board> | undefined) =>
      act(() =>
        sources.behind(id).state.setState((was) => ({ value: state && ({ ...start, ...was.value, ...state } as unknown as JsonObject) })),
      ),
    /** Lets time go by, ms. */
    pass: (ms: number) => act(() => void vi.advanceTimersByTime(ms)),
    /** Another client, with contexts of its own. */
    renew: () => {
      sources = createSources()
    },
    /** For a test that makes React complain. */
    forgetErrors: () => {
      errors = []
    },
    below,
    belowStrict: ({ children }: { children?: ReactNode }): ReactNode => createElement(StrictMode, null, below({ children })),
  }
}
