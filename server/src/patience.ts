/**
 * Waits for what code of the application does, but no longer than this: what comes later is not looked at any more.
 *
 * @param late makes the error that is thrown then
 */
export async function inTime<T>(answer: T | Promise<T>, ms: number, late: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), ms)
  })
  try {
    return await Promise.race([answer, tooLate])
  } finally {
    clearTimeout(timer)
  }
}
