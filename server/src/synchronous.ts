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

const isPromise = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
