import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Options of {@link startRedisServer}. */
export interface RedisServerOptions {
  /** Keeps an append-only file, so that data outlives `kill` and `restart`; the value is `appendfsync`. Default: nothing outlives the process. */
  readonly appendOnly?: 'always' | 'everysec' | 'no'
  /** Password of the default user. Default: none. */
  readonly password?: string
  /** Further settings, as in a configuration file: `{ 'maxmemory': '8mb' }`. */
  readonly settings?: Readonly<Record<string, string>>
}

/** A `redis-server` of a test's own, on 127.0.0.1. */
export interface RedisServer {
  /** `redis://127.0.0.1:PORT`, with the password when there is one. */
  readonly url: string
  readonly port: number
  /** Process id of the running server. */
  readonly pid: number
  /** Ends it by SIGKILL, as a crash would. */
  kill(): Promise<void>
  /** Starts it again on the same port with the same files; ends it by SIGKILL first when it runs. */
  restart(): Promise<void>
  /** Stops the process where it is, connections open, as a machine that hangs (SIGSTOP). */
  freeze(): void
  /** Lets it go on after `freeze`. */
  thaw(): void
  /** Ends it and removes its files. */
  stop(): Promise<void>
}

/** Servers that run: none outlives this process. */
const running = new Set<ChildProcess>()
let watched = false

/**
 * Starts a `redis-server` for a test: on a free port, in a directory of its own.
 * @throws {Error} it is not installed, or does not start
 */
export async function startRedisServer(options: RedisServerOptions = {}): Promise<RedisServer> {
  const directory = await mkdtemp(join(tmpdir(), 'contextd-redis-'))
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort()
    try {
      return new TestRedisServer(port, directory, options, await launch(port, directory, options))
    } catch (error) {
      // Somebody else may have taken the port since it was looked for.
      if (attempt < 5 && String(error).includes('in use')) continue
      await rm(directory, { recursive: true, force: true })
      throw error
    }
  }
}

class TestRedisServer implements RedisServer {
  readonly url: string
  readonly port: number
  readonly #directory: string
  readonly #options: RedisServerOptions
  #child: ChildProcess

  constructor(port: number, directory: string, options: RedisServerOptions, child: ChildProcess) {
    this.port = port
    this.url = `redis://${options.password === undefined ? '' : `:${encodeURIComponent(options.password)}@`}127.0.0.1:${port}`
    this.#directory = directory
    this.#options = options
    this.#child = child
  }

  get pid(): number {
    return this.#child.pid!
  }

  kill(): Promise<void> {
    return end(this.#child, 'SIGKILL')
  }

  async restart(): Promise<void> {
    await this.kill()
    this.#child = await launch(this.port, this.#directory, this.#options)
  }

  freeze(): void {
    this.#child.kill('SIGSTOP')
  }

  thaw(): void {
    this.#child.kill('SIGCONT')
  }

  async stop(): Promise<void> {
    this.thaw()
    await end(this.#child, 'SIGTERM')
    await rm(this.#directory, { recursive: true, force: true })
  }
}

function settingsOf(port: number, directory: string, { appendOnly, password, settings }: RedisServerOptions): Record<string, string> {
  const ours = { port: String(port), bind: '127.0.0.1', dir: directory, save: '', appendonly: appendOnly ? 'yes' : 'no' }
  return { ...ours, ...(appendOnly && { appendfsync: appendOnly }), ...(password && { requirepass: password }), ...settings }
}

/** Starts the process; resolves when it takes connections. */
async function launch(port: number, directory: string, options: RedisServerOptions): Promise<ChildProcess> {
  const args = Object.entries(settingsOf(port, directory, options)).flatMap(([name, value]) => [`--${name}`, value])
  const child = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'pipe'] })
  watch(child)
  let output = ''
  await new Promise<void>((resolve, reject) => {
    const read = (chunk: Buffer): void => {
      if (output.length < 20_000) output += chunk.toString()
      if (/ready to accept connections/i.test(output)) resolve()
    }
    child.stdout.on('data', read)
    child.stderr.on('data', read)
    child.once('error', (error: NodeJS.ErrnoException) => {
      reject(
        error.code === 'ENOENT'
          ? new Error('redis-server is not installed (Debian: apt-get install redis-server).', { cause: error })
          : error,
      )
    })
    child.once('exit', (code, signal) => reject(new Error(`redis-server ended (${code ?? signal}) instead of starting:\n${output}`)))
  })
  return child
}

/** Ends the server with this process, whichever way it ends. */
function watch(child: ChildProcess): void {
  running.add(child)
  child.once('exit', () => running.delete(child))
  child.once('error', () => running.delete(child))
  if (watched) return
  watched = true
  process.once('exit', () => {
    for (const left of running) left.kill('SIGKILL')
  })
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill(signal)
  await exited
}

async function freePort(): Promise<number> {
  const server = createServer()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
