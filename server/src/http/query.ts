import { ContextdError } from '@contextd/protocol'
import type { Head } from '@contextd/protocol'

/** The parameters of a request, each read once and checked. */
export class Query {
  readonly #params: URLSearchParams

  constructor(params: URLSearchParams) {
    this.#params = params
  }

  /** A text; undefined: it is not there. @throws {ContextdError} `invalid_message` – it is there twice */
  text(name: string): string | undefined {
    const values = this.#params.getAll(name)
    if (values.length > 1) throw bad(`${name} is given ${values.length} times; give it once.`)
    return values[0]
  }

  /** A whole number; undefined: it is not there. @throws {ContextdError} `invalid_message` – it is none, or out of bounds */
  whole(name: string, least: number, most: number = Number.MAX_SAFE_INTEGER): number | undefined {
    const text = this.text(name)
    if (text === undefined) return undefined
    const value = wholeIn(text)
    if (value !== null && value >= least && value <= most) return value
    const bounds = most === Number.MAX_SAFE_INTEGER ? `at least ${least}` : `from ${least} to ${most}`
    throw bad(`${name} must be a whole number, ${bounds}.`)
  }

  /** One of some words; undefined: it is not there. @throws {ContextdError} `invalid_message` – it is another */
  word<W extends string>(name: string, words: readonly W[]): W | undefined {
    const text = this.text(name)
    if (text === undefined || words.includes(text as W)) return text as W | undefined
    throw bad(`${name} must be ${words.join(' or ')}.`)
  }

  /** All parameters, as `authenticate` sees them. */
  all(): { [name: string]: string | string[] } {
    const all = Object.create(null) as { [name: string]: string | string[] }
    for (const name of new Set(this.#params.keys())) {
      const values = this.#params.getAll(name)
      all[name] = values.length === 1 ? values[0]! : values
    }
    return all
  }
}

/** The error of a request that cannot be understood. */
export const bad = (message: string): ContextdError => new ContextdError('invalid_message', message)

/** A whole number as it is written in a URL; null: it is none. */
export function wholeIn(text: string): number | null {
  return /^\d{1,16}$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : null
}

/** The tag of a version: `"12-k2Jd…"`, in quotes. */
export const etagOf = ({ version, revision }: Pick<Head, 'version' | 'revision'>): string => `"${version}-${revision}"`

/** Where a caller stands, as a tag without its quotes says it; null: it is no tag of ours. */
export function headIn(tag: string): { readonly version: number; readonly revision: string } | null {
  const [, digits, revision] = /^(\d{1,16})-([\w-]{1,64})$/.exec(tag) ?? []
  const version = digits === undefined ? null : wholeIn(digits)
  return version === null || revision === undefined ? null : { version, revision }
}

/** The tags that a header lists, without quotes, weak ones too: a proxy that compresses weakens them. */
export function tagsIn(header: string): string[] {
  return header.split(',').map((tag) =>
    tag
      .trim()
      .replace(/^W\//, '')
      .replace(/^"(.*)"$/, '$1'),
  )
}
