/** @throws {TypeError} it is no object, or holds something else than these options */
export function checkOptions(call: string, options: unknown, names: readonly string[]): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new TypeError(`${call}: the options must be an object: { ${names.join(', ')} }`)
  }
  for (const name of Object.keys(options)) {
    if (!names.includes(name)) throw new TypeError(`${call} has no option ${name}; it has ${names.join(', ')}`)
  }
}
