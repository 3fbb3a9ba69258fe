import { callSafely } from './timers.ts'

/** Anything that can be watched; structurally a read-only zustand store. Its methods survive destructuring. */
export interface Source<T> {
  get(): T
  getState(): T
  /** The value for server rendering and hydration. */
  getInitialState(): T
  /** Calls for each change, not at once; returns the function that ends it. */
  subscribe(listener: (value: T, previous: T) => void): () => void
}

/** A source that its owner can change. */
export interface Cell<T> extends Source<T> {
  /** Tells the listeners, if the value is another. */
  set(value: T): void
  /** As `set`, but the listeners are told by the function that comes back, so that several cells change before anyone looks. */
  put(value: T): () => void
}

/** Makes a cell. @param initial its value, also for server rendering */
export function createCell<T>(initial: T): Cell<T> {
  let value = initial
  const listeners = new Set<(value: T, previous: T) => void>()
  const get = (): T => value
  const put = (next: T): (() => void) => {
    const previous = value
    if (Object.is(previous, next)) return () => {}
    value = next
    return () => {
      for (const listener of Array.from(listeners)) {
        // One that was ended by another listener meanwhile is not called; and all were told of what one of them has changed meanwhile.
        if (listeners.has(listener) && Object.is(value, next)) callSafely(listener, next, previous)
      }
    }
  }
  return {
    get,
    getState: get,
    getInitialState: () => initial,
    subscribe: (listener) => {
      checkListener(listener)
      // The same function may be given twice; each time counts.
      const own = (next: T, previous: T): void => listener(next, previous)
      listeners.add(own)
      return () => void listeners.delete(own)
    },
    set: (next) => put(next)(),
    put,
  }
}

/** @throws {TypeError} it is no function */
export function checkListener(listener: unknown): void {
  if (typeof listener !== 'function') throw new TypeError(`subscribe takes a function, not ${listener === null ? 'null' : typeof listener}`)
}
