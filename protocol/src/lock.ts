import type { Author } from './delta.ts'

/** Proof of holding a lock, carried by commits; `token` grows with each new holder of the key. */
export interface LockToken {
  readonly key: string
  readonly token: number
}
/** Who holds a lock, and since when. */
export interface LockHolder {
  readonly holder: Author
  readonly since: number
}
