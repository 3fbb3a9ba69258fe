import type { Answered, Submission } from 'contextd/cores'
import { serverAuthor } from 'contextd/cores'
import type { Asker } from './sim-committer.ts'
import type { SimNode } from './sim-node.ts'
import { initialState, markOperation } from './workload.ts'
import type { World } from './world.ts'

/** The server's own code as a writer: it has no session, and a commit whose outcome is unknown is never repeated blindly (P7). */
export class ServerWriter {
  readonly #world: World

  constructor(world: World) {
    this.#world = world
  }

  /** Appends to the context, which is created if need be. Returns the token. */
  write(node: SimNode, contextId: string, conditions: { readonly ifVersion?: number } = {}): string {
    const token = this.#world.nextToken()
    this.#submit(node, contextId, token, { operations: [markOperation(token)], remove: false, initial: initialState, ...conditions })
    return token
  }

  /** Deletes the context. Returns the write's id. */
  remove(node: SimNode, contextId: string): string {
    const token = this.#world.nextToken()
    this.#submit(node, contextId, token, { operations: [], remove: true, initial: null })
    return token
  }

  #submit(
    node: SimNode,
    contextId: string,
    token: string,
    what: Pick<Submission<Asker>, 'operations' | 'remove' | 'initial' | 'ifVersion'>,
  ): void {
    const write = this.#world.book.add({
      token,
      contextId,
      who: node.id,
      marked: !what.remove,
      plain: false,
      incarnation: null,
      madeOn: null,
    })
    // The process may end before it knows: nobody waits then.
    write.orphaned = true
    this.#world.note(node.id, 'server', contextId, token)
    const submission = { source: token, stream: null, author: serverAuthor, incarnation: null, size: 100, ...what }
    node.submit(contextId, submission, (answered) => this.#told(node, contextId, submission, token, answered))
  }

  #told(node: SimNode, contextId: string, submission: Omit<Submission<Asker>, 'target'>, token: string, { answer }: Answered<Asker>): void {
    const { book } = this.#world
    this.#world.note(node.id, 'told', contextId, token, answer.type)
    if (answer.type === 'verdict') {
      const { verdict } = answer
      if (verdict.type === 'refused') book.refused(token, verdict.code)
      else book.settled(token, verdict.type, verdict.head)
    } else if (answer.type === 'unknown') book.settled(token, 'unknown', null)
    // Held: certainly not done, so that it may be tried again.
    else if (node.up) node.submit(contextId, submission, (answered) => this.#told(node, contextId, submission, token, answered))
  }
}
