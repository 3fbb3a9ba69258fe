import type { Source } from '@contextd/client'
import { useEffect, useState, useSyncExternalStore } from 'react'

/** Reads one of the client's sources: `pending`, `rejected`, … */
export function useSource<T>(source: Source<T>): T {
  // A source's methods need no `this`.
  // oxlint-disable-next-line typescript/unbound-method
  return useSyncExternalStore(source.subscribe, source.getState, source.getInitialState)
}

/** The time, read again at an interval, ms. */
export function useNow(intervalMs: number): number {
  const [now, setNow] = useState(() => Date.now())
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), intervalMs)
    return () => clearInterval(timer)
  }, [intervalMs])
  return now
}
