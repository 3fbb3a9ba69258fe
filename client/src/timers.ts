/** A timer, so that it can be told whether it runs. */
export type Timer = ReturnType<typeof setTimeout>

/** Longest that a timer counts, ms. */
const longest = 2_147_483_647

/** Calls later; what only tidies up or waits must not keep a process alive. */
export function later(call: () => void, ms: number): Timer {
  const timer = setTimeout(call, Math.min(ms, longest))
  if (typeof timer === 'object') (timer as { unref(): void }).unref()
  return timer
}

/** Full jitter: evenly from nothing to 1 s · 2ⁿ, at most `mostMs`. @param attempt n, from 0 */
export const backOff = (attempt: number, mostMs = 30_000): number => Math.random() * Math.min(mostMs, 1_000 * 2 ** attempt)

/** Lets an error of the application's own code surface, without ending what called it. */
export function surface(error: unknown): void {
  queueMicrotask(() => {
    throw error
  })
}

/** Calls the application's code. */
export function callSafely<A extends readonly unknown[]>(call: (...args: A) => void, ...args: A): void {
  try {
    call(...args)
  } catch (error) {
    surface(error)
  }
}
