import { fork } from 'node:child_process'
import { once } from 'node:events'

/**
 * What every measured process is started with, the floors' too. Where many calls are under way at once, V8 takes the short-lived objects of a call
 * for long-lived ones, puts them with these from then on, and spends a third of its time on getting rid of them.
 */
export const nodeOptions: readonly string[] = ['--no-allocation-site-pretenuring']

/** Runs a piece of a suite, named by its suite, in a process of its own: what went before does not weigh on it. */
export async function inChild<R>(suite: string, task: object, options: readonly string[] = []): Promise<R> {
  const child = fork(process.argv[1]!, ['--task', JSON.stringify({ suite, task })], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    execArgv: [...process.execArgv, ...nodeOptions, ...options],
  })
  const exited = once(child, 'exit') as Promise<[number | null, string | null]>
  const answered = once(child, 'message') as Promise<[R]>
  const first = await Promise.race([answered, exited.then(() => null)])
  const [code, signal] = await exited
  if (first === null || code !== 0) throw new Error(`a process of the suite ${suite} ended with ${signal ?? `exit code ${code}`}`)
  return first[0]
}

/** Hands the result of a task to the process that asked for it, and ends this one. */
export async function answerTask(result: object): Promise<never> {
  await new Promise<void>((resolve, reject) => {
    process.send!(result, (error: Error | null) => (error ? reject(error) : resolve()))
  })
  process.exit(0)
}

/** How many times in a second this machine writes and reads a text as JSON: how fast it was just now. */
export function yardstick(text: string, forMs = 150): number {
  const start = performance.now()
  let done = 0
  while (performance.now() - start < forMs) {
    for (let count = 0; count < 20; count += 1) JSON.stringify(JSON.parse(text))
    done += 20
  }
  return done / ((performance.now() - start) / 1_000)
}
