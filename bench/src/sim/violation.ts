/** A guarantee was broken: the run ends here. */
export class Violation extends Error {
  override readonly name = 'Violation'
  /** Which check failed. */
  readonly check: string

  constructor(check: string, message: string) {
    super(`${check}: ${message}`)
    this.check = check
  }
}
