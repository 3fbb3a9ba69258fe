import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** A server in a process of its own that says its URL in its first line of output. It runs what was built. */
export class ServerProcess {
  readonly url: string
  readonly #args: readonly string[]
  #child: ChildProcess
  /** What it wrote to standard error, over all its lives: its log. */
  errors = ''

  private constructor(args: readonly string[], child: ChildProcess, url: string) {
    this.#args = args
    this.#child = child
    this.url = url
    this.#listen()
  }

  /** Starts `node <args>` in the workspace's root. */
  static async start(...args: readonly string[]): Promise<ServerProcess> {
    const child = launch(args)
    return new ServerProcess(args, child, await firstUrl(child))
  }

  /** Number of the process. */
  get pid(): number {
    return this.#child.pid!
  }

  /** Lines of its log that tell of an error, and those that are none of a log. */
  get failures(): readonly string[] {
    return this.errors.split('\n').filter((line) => line !== '' && !/^\{"level":"(debug|info|warn)"/.test(line))
  }

  /** Ends the process at once, as a crash would. */
  async crash(): Promise<void> {
    await this.#end('SIGKILL')
  }

  /** Ends the process as an operator does. */
  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.#end('SIGTERM')
  }

  /** How it has ended; null: it runs, or a signal has ended it. */
  get exitCode(): number | null {
    return this.#child.exitCode
  }

  /** Starts it again on the same port. */
  async restart(): Promise<void> {
    const port = new URL(this.url).port
    const kept = this.#args.filter((arg, index) => arg !== '--port' && this.#args[index - 1] !== '--port')
    this.#child = launch([...kept, '--port', port])
    this.#listen()
    await firstUrl(this.#child)
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const exit = once(this.#child, 'exit')
    this.#child.kill(signal)
    await exit
  }

  #listen(): void {
    this.#child.stderr!.on('data', (chunk: Buffer) => (this.errors += chunk.toString()))
  }
}

/** The command line's server on a store. */
export const startServer = (store: string, ...more: readonly string[]): Promise<ServerProcess> =>
  ServerProcess.start('server/dist/cli/main.js', 'serve', '--port', '0', '--store', store, ...more)

/** The examples, served by their own server on a store. */
export const startDemo = (store: string): Promise<ServerProcess> =>
  ServerProcess.start('examples/start.mjs', '--port', '0', '--store', store)

function launch(args: readonly string[]): ChildProcess {
  return spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
}

function firstUrl(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = ''
    const collect = (chunk: Buffer): void => {
      output += chunk.toString()
      const url = /http:\/\/127\.0\.0\.1:\d+/.exec(output)
      if (url) resolve(url[0])
    }
    child.stdout!.on('data', collect)
    child.stderr!.on('data', collect)
    child.once('exit', (code) => reject(new Error(`ended with ${code} before it was ready: ${output}`)))
  })
}
