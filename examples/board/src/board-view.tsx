import { useCallback, useLayoutEffect, useMemo, useRef, useState } from 'react'
import type { ReactNode } from 'react'
import { addColumn, isAt, moveCard, placeBeside } from './actions.ts'
import { useContextd } from './board.ts'
import type { BoardHandle, BoardId, Card } from './board.ts'
import { ColumnView } from './column-view.tsx'
import { PlusIcon } from './icons.tsx'
import { InlineEdit } from './inline-edit.tsx'
import { Motion } from './motion.ts'
import { SceneProvider } from './scene.ts'
import type { Scene } from './scene.ts'
import { useCardDrag } from './use-card-drag.ts'
import { useVisitor } from './visitor.ts'

/** The columns, and what goes on between them. */
export function BoardView({ boardId, board }: { boardId: BoardId; board: BoardHandle }): ReactNode {
  const { name } = useVisitor()
  const columnIds = useContextd(boardId, (state) => state.columns.map(({ id }) => id)) ?? []
  const [motion] = useState(() => new Motion())
  const attach = useCallback((root: HTMLElement | null) => motion.attach(root), [motion])
  const [said, setSaid] = useState('')
  const refocus = useRef<string | null>(null)

  const { drag, onPointerDown } = useCardDrag((cardId, place, at) => {
    const state = board.get()
    const card = state && cardIn(state.columns, cardId)
    if (!card || isAt(state, cardId, place)) return
    motion.from(cardId, at.x, at.y)
    void moveCard(board, name, card, place)
  })

  const onArrow = useCallback<Scene['onArrow']>(
    (card, key) => {
      const state = board.get()
      const place = state && placeBeside(state, card.id, key)
      if (!place) return
      void moveCard(board, name, card, place)
      refocus.current = card.id
      const column = state.columns.find(({ id }) => id === place.columnId)
      setSaid(`Moved ${card.text} ${key === 'ArrowUp' ? 'up' : key === 'ArrowDown' ? 'down' : `to ${column?.title ?? 'another column'}`}.`)
    },
    [board, name],
  )
  // A card in another column is another element: the focus goes with it.
  useLayoutEffect(() => {
    if (refocus.current !== null) document.querySelector<HTMLElement>(`.card[data-id="${CSS.escape(refocus.current)}"]`)?.focus()
    refocus.current = null
  })

  const scene = useMemo(() => ({ board, motion, onArrow }), [board, motion, onArrow])
  const lifted = drag && board.get()?.columns.find(({ cards }) => cards.some(({ id }) => id === drag.cardId))?.id
  return (
    <SceneProvider value={scene}>
      <main className="board" data-scroller onPointerDown={onPointerDown}>
        <div className="columns" ref={attach}>
          {columnIds.map((columnId) => (
            <ColumnView
              key={columnId}
              boardId={boardId}
              columnId={columnId}
              liftedId={drag && lifted === columnId ? drag.cardId : null}
              dropBefore={drag?.over?.columnId === columnId ? drag.over.before : undefined}
            />
          ))}
          <div className="add-column">
            <InlineEdit
              value=""
              label="Add a column"
              testId="new-column"
              maxLength={60}
              onSave={(title) => void addColumn(board, name, title)}
            >
              <PlusIcon /> Add a column
            </InlineEdit>
          </div>
        </div>
      </main>
      <p id="card-keys" hidden>
        Press Enter to edit, Alt and an arrow key to move, Delete to delete.
      </p>
      <p className="unseen" role="status">
        {said}
      </p>
    </SceneProvider>
  )
}

function cardIn(columns: readonly { cards: readonly Card[] }[], cardId: string): Card | undefined {
  return columns.flatMap(({ cards }) => cards).find(({ id }) => id === cardId)
}
