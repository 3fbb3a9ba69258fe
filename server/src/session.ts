import { createHash } from 'node:crypto'
import { randomToken } from '@contextd/protocol'

/*
 * The id of a session (P2) is `<time>-<random>-<check>`: when the server minted it, 132 random bits, and a hash of both with the user, so
 * that every node knows whose it is without asking. It is a secret: what is stored and published is derived from it, and leads nowhere back.
 */
const form = /^([0-9a-z]{1,9})-[\w-]{22}-[\w-]{8}$/
const actorLength = 16

const digest = (text: string): string => createHash('sha256').update(text).digest('base64url')
const checkOf = (body: string, userId: string | null): string => digest(`${userId ?? ''}\n${body}`).slice(0, 8)

/**
 * Makes the id of a new session.
 *
 * @param now ms since the epoch
 * @param userId whose it is; null: anonymous
 */
export function mintSession(now: number, userId: string | null): string {
  const body = `${Math.trunc(now).toString(36)}-${randomToken(22)}`
  return `${body}-${checkOf(body, userId)}`
}

/** When a session was minted, ms since the epoch; null: it is no session id. */
export function mintedAt(session: string): number | null {
  const time = form.exec(session)?.[1]
  return time === undefined ? null : Number.parseInt(time, 36)
}

/** Whether a session was minted for this user; false also for what is no session id. */
export function isSessionOf(userId: string | null, session: string): boolean {
  return form.test(session) && session.slice(-8) === checkOf(session.slice(0, -9), userId)
}

/** Names the records of a session's streams (P2). */
export const streamKeyOf = (userId: string | null, session: string): string => digest(`${userId ?? ''}\n${session}`)

/** Public tag of a session: the same on every node, and wherever it is attached. */
export const actorOf = (userId: string | null, session: string): string =>
  digest(`actor\n${userId ?? ''}\n${session}`).slice(0, actorLength)
