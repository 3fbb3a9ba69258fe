/** Turns an unknown value into a typed one, or throws a {@link DecodeError}; the types of messages are inferred from their decoders. */
export type Decoder<T> = (input: unknown, at: string) => T
/** The type that a decoder gives. */
export type Infer<D> = D extends Decoder<infer T> ? T : never

/** What a decoder throws: where the input is wrong, and what was expected there. */
export class DecodeError extends Error {
  override readonly name = 'DecodeError'
  readonly at: string
  readonly expected: string

  constructor(at: string, expected: string) {
    super(`${at || 'message'}: expected ${expected}`)
    this.at = at
    this.expected = expected
  }
}

const fail = (at: string, expected: string): never => {
  throw new DecodeError(at, expected)
}

/** Runs a decoder. @throws {DecodeError} the input does not fit. */
export const decode = <T>(decoder: Decoder<T>, input: unknown): T => decoder(input, '')

/** A string of at most `max` UTF-16 units, matching `pattern` (linear ones only) if given. */
export const text =
  (max: number, pattern?: RegExp): Decoder<string> =>
  (input, at) =>
    typeof input === 'string' && input.length <= max && (!pattern || pattern.test(input))
      ? input
      : fail(at, `a string of at most ${max} characters`)

/** A whole number in a closed range. */
export const whole =
  (min: number, max: number = Number.MAX_SAFE_INTEGER): Decoder<number> =>
  (input, at) =>
    Number.isSafeInteger(input) && (input as number) >= min && (input as number) <= max
      ? (input as number)
      : fail(at, `a whole number of at least ${min}`)

export const bool: Decoder<boolean> = (input, at) => (typeof input === 'boolean' ? input : fail(at, 'a boolean'))

/** One of a few strings or numbers. */
export const oneOf =
  <const T extends readonly (string | number)[]>(...values: T): Decoder<T[number]> =>
  (input, at) =>
    values.includes(input as T[number]) ? (input as T[number]) : fail(at, `one of ${values.join(', ')}`)

export const nullable =
  <T>(decoder: Decoder<T>): Decoder<T | null> =>
  (input, at) =>
    input === null ? null : decoder(input, at)

/** A list of at most `max` entries. */
export const list =
  <T>(decoder: Decoder<T>, max: number): Decoder<T[]> =>
  (input, at) => {
    if (!Array.isArray(input) || input.length > max) return fail(at, `a list of at most ${max}`)
    return input.map((entry, index) => decoder(entry, `${at}[${index}]`))
  }

type Tuple<D extends readonly Decoder<unknown>[]> = { -readonly [K in keyof D]: Infer<D[K]> }
/** A list of fixed length. */
export const tuple =
  <const D extends readonly Decoder<unknown>[]>(...decoders: D): Decoder<Tuple<D>> =>
  (input, at) => {
    if (!Array.isArray(input) || input.length !== decoders.length) return fail(at, `a list of ${decoders.length}`)
    return decoders.map((decoder, index) => decoder(input[index], `${at}[${index}]`)) as Tuple<D>
  }

/** Marks a field that may be missing. */
export const optional = <T>(decoder: Decoder<T>): Decoder<T> & { readonly optional: true } =>
  Object.assign((input: unknown, at: string) => decoder(input, at), { optional: true as const })

type Fields = { readonly [key: string]: Decoder<unknown> & { readonly optional?: true } }
type Optional<F extends Fields> = { [K in keyof F]: F[K] extends { readonly optional: true } ? K : never }[keyof F]
type Fielded<F extends Fields> = { [K in Exclude<keyof F, Optional<F>>]: Infer<F[K]> } & { [K in Optional<F>]?: Infer<F[K]> }
/** An object with these fields; others are dropped, so that a newer peer may say more. */
export const fields =
  <const F extends Fields>(shape: F): Decoder<Fielded<F>> =>
  (input, at) => {
    if (typeof input !== 'object' || input === null || Array.isArray(input)) return fail(at, 'an object')
    const result: { [key: string]: unknown } = {}
    for (const key of Object.keys(shape)) {
      const decoder = shape[key]!
      const value = Object.hasOwn(input, key) ? (input as { [key: string]: unknown })[key] : undefined
      if (value === undefined && decoder.optional) continue
      result[key] = decoder(value, at ? `${at}.${key}` : key)
    }
    return result as Fielded<F>
  }

/** The first decoder that fits, chosen by the field `tag`. */
export const tagged =
  <const T extends string, const V extends { readonly [tag: string]: Decoder<object> }>(
    tag: T,
    variants: V,
  ): Decoder<{ [K in keyof V & string]: { [P in T]: K } & Infer<V[K]> }[keyof V & string]> =>
  (input, at) => {
    const name =
      typeof input === 'object' && input !== null && Object.hasOwn(input, tag) ? (input as { [key: string]: unknown })[tag] : undefined
    const variant = typeof name === 'string' && Object.hasOwn(variants, name) ? variants[name] : undefined
    if (!variant) return fail(at ? `${at}.${tag}` : tag, `one of ${Object.keys(variants).join(', ')}`)
    return { [tag]: name, ...variant(input, at) } as never
  }
