/** Version of the wire that this code speaks; both sides say theirs when they connect. */
export const wireVersion = 1
/** Oldest version of a peer that this code still understands; an older one is told `update_required`. */
export const oldestWireVersion = 1
/** What each version changed, newest last; a change of the message schemas needs a new entry. */
export const wireHistory: readonly { readonly version: number; readonly change: string }[] = [
  { version: 1, change: 'first: attach, sync, leave, commit, list; deltas, heads, verdicts' },
]
