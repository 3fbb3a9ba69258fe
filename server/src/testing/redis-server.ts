import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freezeProcess } from './freeze-process.ts'

/** Options of {@link startRedisServer}. */
export interface RedisServerOptions {
  /** Keeps an append-only file, so that data outlives `kill` and `restart`; the value is `appendfsync`. Default: nothing outlives the process. */
  readonly appendOnly?: 'always' | 'everysec' | 'no'
  /** Password of the default user. Default: none. */
  readonly password?: string
  /** A user whom `url` names instead of the default one: may do what the ACL rules say (`~app:* +get`), and nothing else. */
  readonly user?: { readonly name: string; readonly password: string; readonly rules: string }
  /** PEM files: speaks TLS only, and asks clients for no certificate. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca: string }
  /** Further settings, as in a configuration file: `{ 'maxmemory': '8mb' }`. */
  readonly settings?: Readonly<Record<string, string>>
  /** What to run. Default the environment's `REDIS_SERVER`, or `redis-server`; `valkey-server` will do as well. */
  readonly program?: string
}

/** A `redis-server` of a test's own, on 127.0.0.1. */
export interface RedisServer {
  /** `redis://127.0.0.1:PORT` (`rediss:` with TLS), with user and password when there are any. */
  readonly url: string
  /** As `url`, of the default user, who may do everything. */
  readonly adminUrl: string
  readonly port: number
  /** Process id of the running server. */
  readonly pid: number
  /** Where its files are. */
  readonly directory: string
  /** Ends it by SIGKILL, as a crash would. */
  kill(): Promise<void>
  /**
   * Starts it again on the same port with the same files; ends it by SIGKILL first when it runs.
   * @param settings more of them, for this run
   */
  restart(settings?: Readonly<Record<string, string>>): Promise<void>
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
  readonly adminUrl: string
  readonly port: number
  readonly directory: string
  readonly #options: RedisServerOptions
  #child: ChildProcess

  constructor(port: number, directory: string, options: RedisServerOptions, child: ChildProcess) {
    const { password, user, tls } = options
    const urlOf = (who: string): string => `${tls ? 'rediss' : 'redis'}://${who}127.0.0.1:${port}`
    this.port = port
    this.adminUrl = urlOf(password === undefined ? '' : `:${encodeURIComponent(password)}@`)
    this.url = user ? urlOf(`${encodeURIComponent(user.name)}:${encodeURIComponent(user.password)}@`) : this.adminUrl
    this.directory = directory
    this.#options = options
    this.#child = child
  }

  get pid(): number {
    return this.#child.pid!
  }

  kill(): Promise<void> {
    return end(this.#child, 'SIGKILL')
  }

  async restart(settings: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.kill()
    this.#child = await launch(this.port, this.directory, { ...this.#options, settings: { ...this.#options.settings, ...settings } })
  }

  freeze(): void {
    freezeProcess(this.pid)
  }

  thaw(): void {
    this.#child.kill('SIGCONT')
  }

  async stop(): Promise<void> {
    // Not asked: one that is busy, or writes its files, would not listen.
    await end(this.#child, 'SIGKILL')
    await rm(this.directory, { recursive: true, force: true })
  }
}

function argumentsOf(port: number, directory: string, { appendOnly, password, user, tls, settings }: RedisServerOptions): string[] {
  const ours = { port: String(port), bind: '127.0.0.1', dir: directory, save: '', appendonly: appendOnly ? 'yes' : 'no' }
  const encrypted = tls && {
    port: '0',
    'tls-port': String(port),
    'tls-cert-file': tls.cert,
    'tls-key-file': tls.key,
    'tls-ca-cert-file': tls.ca,
    'tls-auth-clients': 'no',
  }
  const all = {
    ...ours,
    ...encrypted,
    ...(appendOnly && { appendfsync: appendOnly }),
    ...(password && { requirepass: password }),
    ...settings,
  }
  const args = Object.entries(all).flatMap(([name, value]) => [`--${name}`, value])
  return user ? [...args, '--user', user.name, 'on', `>${user.password}`, ...user.rules.split(' ')] : args
}

/** Starts the process; resolves when it takes connections. */
async function launch(port: number, directory: string, options: RedisServerOptions): Promise<ChildProcess> {
  return await startProcess(options.program, argumentsOf(port, directory, options), /ready to accept connections/i)
}

/** Starts the program of a Redis server; resolves when its output says that it is ready. */
export async function startProcess(given: string | undefined, args: readonly string[], ready: RegExp): Promise<ChildProcess> {
  const program = given ?? (process.env['REDIS_SERVER'] || 'redis-server')
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  watch(child)
  let output = ''
  await new Promise<void>((resolve, reject) => {
    const read = (chunk: Buffer): void => {
      if (output.length < 20_000) output += chunk.toString()
      if (ready.test(output)) resolve()
    }
    child.stdout.on('data', read)
    child.stderr.on('data', read)
    child.once('error', (error: NodeJS.ErrnoException) => {
      reject(
        error.code === 'ENOENT'
          ? new Error(`${program} is not installed (Debian: apt-get install redis-server).`, { cause: error })
          : error,
      )
    })
    child.once('exit', (code, signal) => reject(new Error(`${program} ended (${code ?? signal}) instead of starting:\n${output}`)))
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

/** Ends a process. */
export async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill(signal)
  await exited
}

/** A port that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
