import { Redis } from 'ioredis'

/** What a Redis server has used since it was started. */
export interface RedisUsage {
  readonly inputBytes: number
  readonly cpuMs: number
}

/** Asks a Redis server what it has used; `close` ends the connection. */
export class RedisMeter {
  readonly #redis: Redis

  constructor(url: string) {
    this.#redis = new Redis(url)
  }

  async read(): Promise<RedisUsage> {
    const text = `${await this.#redis.info('stats')}\n${await this.#redis.info('cpu')}`
    const field = (name: string): number => Number(new RegExp(`^${name}:(.*)$`, 'm').exec(text)?.[1])
    return {
      inputBytes: field('total_net_input_bytes'),
      cpuMs: (field('used_cpu_user') + field('used_cpu_sys')) * 1_000,
    }
  }

  close(): void {
    this.#redis.disconnect()
  }
}
