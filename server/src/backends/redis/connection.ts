import { Redis } from 'ioredis'
import type { RedisOptions } from 'ioredis'
import { NotConnected, isTimeout, reasonOf } from './errors.ts'
import { runScript } from './script.ts'
import type { Script } from './script.ts'

/** A command, to be given to the server that it is for. */
export type Command<T> = (client: Redis) => Promise<T>

/** How long a command waits for its answer, a connection to be made, and a connection to be closed in peace, ms. */
const commandTimeoutMs = 2_000
const connectTimeoutMs = 5_000
const disconnectTimeoutMs = 500
/** How long the first connection waits, also for a Redis that is still loading its data, ms. */
const openTimeoutMs = 10_000
/** Longest pause between two attempts to connect, ms. */
const longestPauseMs = 2_000
/** How often a connection is made anew because its server takes no writes, so that a failover is followed, ms. */
const readOnlyEveryMs = 1_000

const defaults: RedisOptions = {
  commandTimeout: commandTimeoutMs,
  connectTimeout: connectTimeoutMs,
  disconnectTimeout: disconnectTimeoutMs,
  maxLoadingRetryTime: 500,
  connectionName: 'contextd',
}

/** A connection to Redis: opened once, then made again for as long as it is not closed. */
export class Connection {
  readonly client: Redis
  /** As they were given. */
  readonly options: RedisOptions
  #opened = false
  #failure: unknown = null
  #readOnlyAt = Number.NEGATIVE_INFINITY
  /** The stream that was given up, which may take a while to close. */
  #givenUp: Redis['stream'] | null = null

  constructor(options: RedisOptions) {
    this.options = options
    this.client = new Redis({
      ...defaults,
      ...options,
      replyMapping: 'legacy',
      retryStrategy: (attempt: number) => (this.#opened ? pauseBefore(attempt) : null),
      reconnectOnError: (error: Error) => this.#followsFailover(error),
    })
    // As many calls may wait for a connection as there are: that is no leak, and Node need not warn of one.
    this.client.setMaxListeners(0)
    // What goes wrong with the connection is told to the calls that need it.
    this.client.on('error', (error: unknown) => {
      this.#failure = error
    })
  }

  /** Whether commands are sent at once. */
  get ready(): boolean {
    return this.client.status === 'ready' && this.client.stream !== this.#givenUp
  }

  /** Connects for the first time, and runs a check; rejects if either fails, and may be called again then. */
  async open(check: () => Promise<void>): Promise<void> {
    this.#failure = null
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error('Not ready in time')), openTimeoutMs)
    })
    try {
      await Promise.race([this.client.connect().then(check), late])
      this.#opened = true
    } catch (error) {
      await this.#end()
      // That the connection was closed says less than why.
      throw reasonOf(error) === '' ? (this.#failure ?? error) : error
    } finally {
      clearTimeout(timer)
    }
  }

  /** Connects, however long it takes. */
  start(): void {
    this.#opened = true
    // Why it failed is an 'error' event, and it is tried again.
    this.client.connect().catch(() => {})
  }

  /** Waits for a connection, as long as for a command's answer. */
  async whenReady(): Promise<void> {
    if (this.ready) return
    const { client } = this
    await new Promise<void>((resolve, reject) => {
      const onReady = (): void => {
        clearTimeout(timer)
        resolve()
      }
      const timer = setTimeout(() => {
        client.off('ready', onReady)
        reject(new NotConnected())
      }, client.options.commandTimeout)
      client.once('ready', onReady)
    })
  }

  /** Runs a script; its text is sent only where Redis does not know it (any more). */
  run(script: Script, names: readonly string[], args: readonly string[]): Promise<unknown> {
    return runScript((command) => this.send(command), script, names, args)
  }

  /** Sends a command, if there is a connection. A connection on which nothing is heard in time is given up. */
  async send<T>(command: Command<T>): Promise<T> {
    if (!this.ready) throw new NotConnected()
    const { stream } = this.client
    try {
      return await command(this.client)
    } catch (error) {
      if (isTimeout(error) && this.client.stream === stream) this.reconnect()
      throw error
    }
  }

  /** Gives up the connection, which may be dead without knowing it, and makes a new one. */
  reconnect(): void {
    if (!this.ready) return
    this.#givenUp = this.client.stream
    this.client.disconnect(true)
  }

  /** Ends the connection, after what is under way. */
  async close(): Promise<void> {
    if (this.ready) await this.client.quit().catch(() => {})
    await this.#end()
  }

  async #end(): Promise<void> {
    const { client } = this
    // Between two connections there is nothing to wait for.
    const open = client.status === 'connecting' || client.status === 'connect' || client.status === 'ready'
    const ended = new Promise<void>((resolve) => {
      if (open) client.once('end', resolve)
      else resolve()
    })
    client.disconnect()
    await ended
  }

  #followsFailover(error: Error): boolean {
    const now = performance.now()
    if (reasonOf(error) !== 'READONLY' || now < this.#readOnlyAt + readOnlyEveryMs) return false
    this.#readOnlyAt = now
    return true
  }
}

/** Full jitter, so that the nodes do not come back all at once. */
function pauseBefore(attempt: number): number {
  return Math.ceil(Math.random() * Math.min(longestPauseMs, 50 * 2 ** Math.min(attempt, 10)))
}
