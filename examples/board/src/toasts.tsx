import { isContextdError } from '@contextd/client'
import type { ContextdError, RejectedWrite } from '@contextd/client'
import { useState } from 'react'
import type { ReactNode } from 'react'
import { useContextdClient, useContextdStatus } from './board.ts'
import type { BoardId } from './board.ts'
import { CloseIcon, WarnIcon } from './icons.tsx'
import { useSource } from './use-source.ts'

const resets = {
  recreated: 'This board was deleted and made anew. You see the new one.',
  rolled_back: 'The server went back to an older state of this board. You see what it has.',
  restored: 'This board was restored from an archive. You see what it has.',
  expired: 'This page was away for too long: changes that the server has not answered may be missing.',
}

/** What went wrong, and what can be done: refused writes until they are answered, and a changed history once. */
export function Toasts({ boardId }: { boardId: BoardId }): ReactNode {
  const client = useContextdClient()
  const rejected = useSource(client.rejected)
  const { reset } = useContextdStatus(boardId)
  return (
    <div className="toasts" role="region" aria-label="Messages">
      {reset && <ResetToast key={reset} text={resets[reset]} />}
      {rejected.map((write) => (
        <RejectedToast
          key={write.id}
          write={write}
          onRetry={() => void client.retry(write.id)}
          onDiscard={() => client.discard(write.id)}
        />
      ))}
    </div>
  )
}

function RejectedToast({ write, onRetry, onDiscard }: { write: RejectedWrite; onRetry: () => void; onDiscard: () => void }): ReactNode {
  return (
    <div className="toast" role="alert" data-testid="toast" data-code={write.error.code}>
      <WarnIcon />
      <div>
        <strong>{titleOf(write.error)}</strong>
        <p>{reasonOf(write.error)}</p>
        <div className="toast-row">
          <button type="button" className="button button-quiet" onClick={onRetry}>
            Try again
          </button>
          <button type="button" className="button button-quiet" onClick={onDiscard}>
            Dismiss
          </button>
        </div>
      </div>
    </div>
  )
}

function ResetToast({ text }: { text: string }): ReactNode {
  const [open, setOpen] = useState(true)
  if (!open) return null
  return (
    <div className="toast toast-plain" role="status" data-testid="reset">
      <p>{text}</p>
      <button type="button" className="icon-button" aria-label="Close" onClick={() => setOpen(false)}>
        <CloseIcon />
      </button>
    </div>
  )
}

/** What a schema says is meant for people; where in the state it says it is not. */
function reasonOf(error: ContextdError): string {
  const issues = isContextdError(error, 'invalid_state') ? error.details.issues : undefined
  return issues?.map(({ message }) => message).join(' ') ?? error.message
}

function titleOf({ code }: ContextdError): string {
  if (code === 'forbidden') return 'You may not change this board'
  if (code === 'conflict' || code === 'not_found') return 'Somebody else was faster'
  return 'The server refused this change'
}
