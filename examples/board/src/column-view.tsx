import { memo, useLayoutEffect, useState } from 'react'
import type { ReactNode } from 'react'
import { addCard, removeColumn, renameColumn } from './actions.ts'
import { useContextd } from './board.ts'
import type { BoardId } from './board.ts'
import { CardView } from './card-view.tsx'
import { TrashIcon } from './icons.tsx'
import { InlineEdit } from './inline-edit.tsx'
import { NewCard } from './new-card.tsx'
import { useScene } from './scene.ts'
import { useVisitor } from './visitor.ts'

/** One column. It reads its own part of the board, and renders when that part changes. */
export const ColumnView = memo(function ColumnView({
  boardId,
  columnId,
  liftedId,
  dropBefore,
}: {
  boardId: BoardId
  columnId: string
  /** The card that is being dragged, when it lies here. */
  liftedId: string | null
  /** Where it would go: in front of this card, null: at the end, undefined: not here. */
  dropBefore: string | null | undefined
}): ReactNode {
  const { board, motion } = useScene()
  const { name } = useVisitor()
  const column = useContextd(boardId, (state) => state.columns.find(({ id }) => id === columnId), Object.is)
  useLayoutEffect(() => motion.rendered())
  if (!column) return null
  const { title, cards } = column
  return (
    <section className="column" data-testid="column" data-id={columnId} aria-label={`${title}, ${cards.length} cards`}>
      <header className="column-head">
        <h2>
          <InlineEdit
            value={title}
            label="Rename the column"
            testId="column-title"
            maxLength={60}
            onSave={(to) => void renameColumn(board, name, columnId, to)}
          />
        </h2>
        <span className="column-count" aria-hidden="true">
          {cards.length}
        </span>
        <RemoveColumn cards={cards.length} title={title} onRemove={() => void removeColumn(board, name, columnId, title)} />
      </header>
      <ul className="cards">
        {cards.map((card) => (
          <CardView key={card.id} card={card} lifted={card.id === liftedId} dropBefore={card.id === dropBefore} />
        ))}
        <li className="cards-end" data-drop={dropBefore === null} data-empty={cards.length === 0}>
          {cards.length === 0 && 'Nothing here yet'}
        </li>
      </ul>
      <NewCard column={title} onAdd={(text) => void addCard(board, name, columnId, text)} />
    </section>
  )
})

/** Removes a column: an empty one at once, one with cards when pressed a second time. */
function RemoveColumn({ cards, title, onRemove }: { cards: number; title: string; onRemove: () => void }): ReactNode {
  const [sure, setSure] = useState(false)
  if (sure) {
    return (
      <button
        type="button"
        className="button button-danger"
        data-testid="delete-column"
        ref={focusIn}
        onClick={onRemove}
        onBlur={() => setSure(false)}
      >
        Delete {cards === 1 ? 'its card' : `its ${cards} cards`} too
      </button>
    )
  }
  return (
    <button
      type="button"
      className="icon-button column-delete"
      data-testid="delete-column"
      aria-label={`Delete the column ${title}`}
      onClick={() => (cards === 0 ? onRemove() : setSure(true))}
    >
      <TrashIcon />
    </button>
  )
}

function focusIn(button: HTMLButtonElement | null): void {
  button?.focus()
}
