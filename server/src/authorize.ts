import { ContextdError } from '@contextd/protocol'

/** An authenticated user; add what you like. */
export interface User {
  readonly id: string
  /** When the login ends: the session is asked to authenticate again. */
  readonly expiresAt?: number
}
/** What a caller shows at the door. */
export interface Handshake {
  /** `token`: the client's `auth`, or the bearer token of an HTTP request. */
  readonly auth: { readonly token?: string; readonly [key: string]: unknown }
  readonly headers: { readonly [name: string]: string | readonly string[] | undefined }
  readonly query: { readonly [name: string]: string | readonly string[] | undefined }
  readonly address: string
  readonly transport: 'socket' | 'http'
}
/** What a caller wants to do. For `list`, `contextId` is the prefix asked for. */
export type Action = 'read' | 'write' | 'create' | 'delete' | 'presence' | 'lock' | 'list'
/** The hook that allows or refuses. */
export type Authorize<U extends User = User> = (request: {
  user: U | null
  contextId: string
  action: Action
}) => boolean | Promise<boolean>

/** Which of the actions asked for are allowed. */
export type Grants = ReadonlySet<Action>

/** Every action, where nobody is asked. */
export const everything: Grants = new Set<Action>(['read', 'write', 'create', 'delete', 'presence', 'lock', 'list'])

/** Asks the application's hook. Nothing is read before it has answered, so that a refusal is the same for what does not exist. */
export class Access {
  readonly #authorize: Authorize | undefined

  constructor(authorize: Authorize | undefined) {
    this.#authorize = authorize
  }

  /** Nobody is asked: everything is allowed. */
  get open(): boolean {
    return this.#authorize === undefined
  }

  /** Which of these actions are allowed; at once if the hook answers at once. Anything but `true` refuses. */
  grants(user: User | null, contextId: string, actions: readonly Action[]): Grants | Promise<Grants> {
    const authorize = this.#authorize
    if (authorize === undefined) return everything
    if (actions.length === 0) return new Set()
    const answers = actions.map((action) => authorize({ user, contextId, action }))
    if (answers.every((answer) => typeof answer === 'boolean')) return granted(actions, answers)
    return Promise.all(answers.map(async (answer) => answer)).then((settled) => granted(actions, settled))
  }

  /** @throws {ContextdError} `forbidden` */
  async require(user: User | null, contextId: string, action: Action): Promise<void> {
    const grants = await this.grants(user, contextId, [action])
    if (!grants.has(action)) throw forbidden(action)
  }
}

const granted = (actions: readonly Action[], answers: readonly boolean[]): Grants =>
  new Set(actions.filter((_, index) => answers[index] === true))

const wanted: { readonly [A in Action]: string } = {
  read: 'read this context',
  write: 'write to this context',
  create: 'create this context',
  delete: 'delete this context',
  presence: 'be present in this context',
  lock: 'take locks of this context',
  list: 'list these contexts',
}

/** The refusal of an action, the same whether the context exists or not. */
export const forbidden = (action: Action): ContextdError =>
  new ContextdError('forbidden', `You may not ${wanted[action]}. Ask whoever runs this server for access.`)
