import {
  attachReplySchema,
  attachSchema,
  commitsSchema,
  decode,
  deltaFrameSchema,
  detachSchema,
  headFrameSchema,
  leaveSchema,
  syncReplySchema,
  syncSchema,
  verdictFrameSchema,
} from '@contextd/protocol'
import type { CommitMessage, Decoder } from '@contextd/protocol'
import type { DownMessage, UpMessage } from './sim-messages.ts'
import { Violation } from './violation.ts'

/** What a receiver makes of a payload: through JSON text, and through the decoder of its message. */
function received<T>(decoder: Decoder<T>, payload: T, what: string): T {
  try {
    return decode(decoder, JSON.parse(JSON.stringify(payload)))
  } catch (error) {
    throw new Violation('wire', `${what} does not decode: ${String(error)}`)
  }
}

/** The server takes no number that is far above what the client has settled (P4). */
function checkNumbers({ settled, commits }: CommitMessage): void {
  const far = commits.find(({ seq }) => seq > settled + 64)
  if (far) throw new Violation('wire', `number ${far.seq} is sent while ${settled} are settled`)
}

/** A client's message as the node receives it. */
export function receivedUp(message: UpMessage): UpMessage {
  const { type } = message
  switch (type) {
    case 'attach':
      return { ...message, ...received(attachSchema, { session: message.session }, type) }
    case 'sync':
      return { ...message, sync: received(syncSchema, message.sync, type) }
    case 'commit':
      checkNumbers(message.commit)
      return { type, commit: received(commitsSchema, message.commit, type) }
    case 'leave':
      return { type, ...received(leaveSchema, { session: message.session, contextId: message.contextId }, type) }
    default:
      return { type, ...received(detachSchema, { session: message.session }, type) }
  }
}

/** A node's message as the client receives it. */
export function receivedDown(message: DownMessage): DownMessage {
  const { type } = message
  switch (type) {
    case 'attached':
      return { ...message, reply: received(attachReplySchema, message.reply, type) }
    case 'synced':
      return { ...message, reply: received(syncReplySchema, message.reply, type) }
    case 'd':
      return { type, frame: received(deltaFrameSchema, message.frame, type) }
    case 'h':
      return { type, frame: received(headFrameSchema, message.frame, type) }
    case 'v':
      return { type, frame: received(verdictFrameSchema, message.frame, type) }
    default:
      return message
  }
}
