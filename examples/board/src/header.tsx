import type { ReactNode } from 'react'
import { renameBoard } from './actions.ts'
import { Avatar } from './avatar.tsx'
import { useContextd } from './board.ts'
import type { BoardHandle, BoardId } from './board.ts'
import { ConnectionControls } from './connection-controls.tsx'
import { Mark, PenIcon, TabIcon } from './icons.tsx'
import { InlineEdit } from './inline-edit.tsx'
import { useNow } from './use-source.ts'
import { useVisitor } from './visitor.ts'

/** What is open, who wrote last, how the connection is, and who you are. */
export function Header({ boardId, board }: { boardId: BoardId; board: BoardHandle }): ReactNode {
  const title = useContextd(boardId, (state) => state.title)
  const { name, rename } = useVisitor()
  return (
    <header className="top">
      <a className="home" href="/" aria-label="Start page">
        <Mark />
      </a>
      <div className="top-title">
        <h1>
          {title === undefined ? (
            'Board'
          ) : (
            <InlineEdit
              value={title}
              label="Rename the board"
              testId="board-title"
              maxLength={80}
              onSave={(to) => void renameBoard(board, name, to)}
            />
          )}
        </h1>
        <LastWriter boardId={boardId} />
      </div>
      <ConnectionControls />
      <a className="button button-quiet new-tab" href={location.href} target="_blank" rel="noopener">
        <TabIcon /> <span>Open another tab</span>
      </a>
      <div className="me">
        <Avatar name={name} />
        <InlineEdit value={name} label="Change your name" testId="name" maxLength={24} onSave={rename}>
          {name} <PenIcon />
        </InlineEdit>
      </div>
    </header>
  )
}

function LastWriter({ boardId }: { boardId: BoardId }): ReactNode {
  const writer = useContextd(boardId, (state) => state.lastWriter)
  const now = useNow(1_000)
  if (!writer) return <p className="last">{writer === null ? 'Nobody has written here yet' : '\u00a0'}</p>
  return (
    <p className="last" data-testid="last-writer">
      <strong>{writer.name}</strong> <span className="did">{writer.did}</span>
      <span className="when">, {ago(now - writer.at)}</span>
    </p>
  )
}

/** How long ago, in words; clocks differ between machines, so the future is now. */
function ago(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1_000))
  if (seconds < 1) return 'now'
  if (seconds < 60) return `${seconds} s ago`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ago`
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ago`
  return `${Math.floor(seconds / 86_400)} d ago`
}
