import { existsSync, readFileSync, readdirSync } from 'node:fs'

const patienceMs = 5_000
const pause = new Int32Array(new SharedArrayBuffer(4))

/**
 * Stops a process where it is (SIGSTOP), and returns when it stands: on a busy machine its threads go on for a while after the signal. It is not
 * waited for where there is no `/proc`.
 * @throws {Error} it does not stand within 5 s
 */
export function freezeProcess(pid: number): void {
  process.kill(pid, 'SIGSTOP')
  const end = performance.now() + patienceMs
  while (!stands(pid)) {
    if (performance.now() > end) throw new Error(`process ${pid} could not be stopped`)
    Atomics.wait(pause, 0, 0, 1)
  }
}

function stands(pid: number): boolean {
  const tasks = `/proc/${pid}/task`
  // It is gone, or there is no such folder here.
  if (!existsSync(tasks)) return true
  try {
    return readdirSync(tasks).every((task) => isStopped(readFileSync(`${tasks}/${task}/stat`, 'utf8')))
  } catch {
    // A thread has ended meanwhile.
    return false
  }
}

/** By the state after the name, which may hold anything: stopped, or no more. */
const isStopped = (stat: string): boolean => /^ [TtZX]/.test(stat.slice(stat.lastIndexOf(')') + 1))
