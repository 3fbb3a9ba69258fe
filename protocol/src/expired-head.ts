import type { Head } from './delta.ts'

/** What the revision of a context that expired begins with: no commit and no delete makes such a one. */
export const expiredMark = '~'

/** Whether a head is that of a context that expired: it is absent, and was neither deleted nor never there. */
export const isExpiredHead = ({ version, revision }: Pick<Head, 'version' | 'revision'>): boolean =>
  version === 0 && revision.startsWith(expiredMark)
