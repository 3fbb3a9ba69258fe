import { reasonOf } from './errors.ts'
import type { Servers } from './servers.ts'

/** How long what was agreed on outlives the last node, and how often each node renews it, ms. */
const lifeMs = 45_000
const renewEveryMs = 15_000

/**
 * What the nodes that run on one prefix have agreed on: the first one writes its settings down, all that have the same keep them alive, and they are
 * forgotten when none runs any more.
 */
export class SharedSettings {
  readonly #servers: Servers
  readonly #key: string
  #own = ''
  #timer: NodeJS.Timeout | null = null

  constructor(servers: Servers, key: string) {
    this.#servers = servers
    this.#key = key
  }

  /** Proposes one's own settings. Returns how what was agreed on differs from them: one clause, or '' when it does not. */
  async propose(settings: Readonly<Record<string, number>>): Promise<string> {
    this.#own = JSON.stringify(Object.fromEntries(Object.entries(settings).toSorted(([a], [b]) => (a < b ? -1 : 1))))
    const agreed = await this.#agree()
    return agreed === this.#own ? '' : difference(settings, agreed)
  }

  /** Keeps them alive from now on, if they are what was agreed on. */
  keep(): void {
    this.#timer ??= setInterval(() => void this.#renew(), renewEveryMs).unref()
  }

  /** Ends that; those who stay write it down again. */
  async leave(): Promise<void> {
    if (this.#timer === null) return
    clearInterval(this.#timer)
    this.#timer = null
    try {
      const agreed = await this.#servers.send(this.#key, (client) => client.get(this.#key))
      if (agreed === this.#own) await this.#servers.send(this.#key, (client) => client.del(this.#key))
    } catch {
      // It expires.
    }
  }

  async #renew(): Promise<void> {
    try {
      if ((await this.#agree()) === this.#own) await this.#servers.send(this.#key, (client) => client.pexpire(this.#key, lifeMs))
    } catch {
      // The next time.
    }
  }

  /** What all have agreed on: one's own settings, if nobody was there. */
  async #agree(): Promise<string> {
    try {
      const agreed = await this.#servers.send(this.#key, (client) =>
        client.call('SET', this.#key, this.#own, 'NX', 'GET', 'PX', String(lifeMs)),
      )
      return typeof agreed === 'string' ? agreed : this.#own
    } catch (error) {
      if (reasonOf(error) === 'WRONGTYPE') return ''
      throw error
    }
  }
}

function difference(settings: Readonly<Record<string, number>>, agreed: string): string {
  let others: { readonly [name: string]: unknown } = {}
  try {
    others = JSON.parse(agreed) as { readonly [name: string]: unknown }
  } catch {
    // Not what a node writes.
  }
  // One that only they have belongs to another version of this program, which may agree on more.
  const different = Object.entries(settings).filter(([name, value]) => others[name] !== value && others[name] !== undefined)
  return different.map(([name, value]) => `${name} ${String(others[name])} instead of ${value}`).join(', ')
}
