/**
 * What code of the application returned that must be synchronous. What becomes of a promise is of no interest any more: nobody is told of its
 * failure.
 * @param message what to do instead
 * @throws {TypeError} it is a promise
 */
export function synchronous<T>(returned: T, message: string): T {
  if (!isPromise(returned)) return returned
  Promise.resolve(returned).catch(() => {})
  throw new TypeError(message)
}

/** Calls code of the application that nobody waits for. `failed` is told what it throws, at once or later. */
export function unawaited(call: () => unknown, failed: (error: unknown) => void): void {
  try {
    const returned = call()
    if (isPromise(returned)) Promise.resolve(returned).catch(failed)
  } catch (error) {
    failed(error)
  }
}

const isPromise = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
