/** A source whose answers are given by hand, and counted. */
export class Feedable {
  calls = 0
  atOnce = 0
  mostAtOnce = 0
  answer: () => unknown = () => ({ n: this.calls })

  readonly fetch = async (): Promise<object> => {
    this.calls += 1
    this.atOnce += 1
    this.mostAtOnce = Math.max(this.mostAtOnce, this.atOnce)
    try {
      return (await this.answer()) as object
    } finally {
      this.atOnce -= 1
    }
  }
}
