import { useEffect, useMemo, useState } from 'react'
import { useStore } from 'zustand/react'
import type { ReadableStore } from './context-store.ts'

/** Tells whether two selected values are the same; hooks default to shallow equality. */
export type Equals<T> = (a: T, b: T) => boolean

/**
 * Reads a part of a store: the same reference as long as `equals` says so, also when the selector builds new objects or is itself new
 * at every render. The selector is not called while the state is undefined.
 */
export function useSelected<S, T>(store: ReadableStore<S | undefined>, selector: (state: S) => T, equals: Equals<T>): T | undefined {
  const [part] = useState(() => new Part<T>())
  // zustand compares by identity only, and takes a selector written inline, new at every render, for another one.
  const select = useMemo(() => part.steady(selector, equals), [part, selector, equals])
  const selected = useStore(store, select)
  useEffect(() => part.show(selected), [part, selected])
  return selected
}

/** The part of a state that a component has on screen. */
class Part<T> {
  #shown: T | undefined

  /** Told after each render that reached the screen. */
  show(value: T | undefined): void {
    this.#shown = value
  }

  /** The selector, except that it answers with what it gave last, or with what is on screen, when the new value is equal to that. */
  steady<S>(selector: (state: S) => T, equals: Equals<T>): (state: S | undefined) => T | undefined {
    let last: { readonly state: S; readonly value: T | undefined } | null = null
    return (state) => {
      if (state === undefined) return undefined
      if (last && Object.is(last.state, state)) return last.value
      const previous = last ? last.value : this.#shown
      const next = selector(state)
      // Undefined may stand for "no state", which `equals` was not written for.
      const value = previous !== undefined && next !== undefined && equals(previous, next) ? previous : next
      last = { state, value }
      return value
    }
  }
}
