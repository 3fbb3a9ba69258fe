const touched = (what: string) => (): never => {
  throw new Error(`looked into a part that has nothing to do with it: ${what}`)
}

/** A part of a state that must not be looked into: whoever does is told so by an error. */
export function untouchable<T extends object>(value: T): T {
  return new Proxy(value, {
    get: touched('get'),
    has: touched('has'),
    ownKeys: touched('keys'),
    getOwnPropertyDescriptor: touched('descriptor'),
    getPrototypeOf: touched('prototype'),
  })
}
