import type { ReactNode } from 'react'
import { initial, useContextd, useContextdHandle, useContextdStatus } from './board.ts'
import type { BoardId } from './board.ts'
import { BoardView } from './board-view.tsx'
import { Header } from './header.tsx'
import { Notice } from './notice.tsx'
import { Toasts } from './toasts.tsx'
import { useNewVisitor, VisitorProvider } from './visitor.ts'

/** The page: header, board, and what has to be said about them. */
export function App({ boardId }: { boardId: BoardId }): ReactNode {
  const visitor = useNewVisitor()
  const board = useContextdHandle(boardId, { initial })
  return (
    <VisitorProvider value={visitor}>
      <Header boardId={boardId} board={board} />
      <Main boardId={boardId} />
      <Toasts boardId={boardId} />
    </VisitorProvider>
  )
}

function Main({ boardId }: { boardId: BoardId }): ReactNode {
  const { phase, error } = useContextdStatus(boardId)
  const ready = useContextd(boardId, () => true)
  const board = useContextdHandle(boardId)
  if (phase === 'deleted') return <Notice title="This board was deleted">Everybody who had it open sees this now.</Notice>
  if (phase === 'denied')
    return <Notice title="This board is closed to you">{error?.message ?? 'The server does not let you read it.'}</Notice>
  if (!ready && phase === 'error') return <Notice title="This board does not load">{error?.message ?? 'Try again in a moment.'}</Notice>
  if (!ready) return <Loading />
  return <BoardView boardId={boardId} board={board} />
}

function Loading(): ReactNode {
  return (
    <main className="board" aria-busy="true" aria-label="Loading the board">
      <div className="columns">
        {[3, 2, 1].map((cards) => (
          <div key={cards} className="column">
            <div className="ghost ghost-title" />
            {Array.from({ length: cards }, (_, index) => (
              <div key={index} className="ghost ghost-card" />
            ))}
          </div>
        ))}
      </div>
    </main>
  )
}
