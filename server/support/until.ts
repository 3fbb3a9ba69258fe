/** Waits until a condition holds, looking at every turn of the event loop; the test's own timeout ends it. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await turn()
}

/** One turn of the event loop. */
export const turn = (): Promise<void> => new Promise(setImmediate)
