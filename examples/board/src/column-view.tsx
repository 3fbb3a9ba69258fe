import { memo, useLayoutEffect, useState } from 'react'
import type { ReactNode } from 'react'
import { addCard, removeColumn, renameColumn } from './actions.ts'
import { useContextd } from './board.ts'
import type { BoardId } from './board.ts'
import { CardView } from './card-view.tsx'
import { PlusIcon, TrashIcon } from './icons.tsx'
import { InlineEdit } from './inline-edit.tsx'
import { useScene } from './scene.ts'
import { TextForm } from './text-form.tsx'
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
  const [adding, setAdding] = useState(false)
  useLayoutEffect(motion.rendered)
  if (!column) return null
  const { title, cards } = column
  return (
    <section className="column" data-testid="column" data-column-id={columnId} aria-label={`${title}, ${cards.length} cards`}>
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
      {adding ? (
        <div className="card card-editing">
          <TextForm
            text=""
            label={`New card in ${title}`}
            submit="Add card"
            testId="add-card-text"
            leave="keep"
            onSave={(text) => void addCard(board, name, columnId, text)}
            onClose={() => setAdding(false)}
          />
        </div>
      ) : (
        <button type="button" className="add" data-testid="add-card" onClick={() => setAdding(true)}>
          <PlusIcon /> Add a card
        </button>
      )}
    </section>
  )
})

/** Removes a column: an empty one at once, one with cards when pressed a second time. */
function RemoveColumn({ cards, title, onRemove }: { cards: number; title: string; onRemove(): void }): ReactNode {
  const [sure, setSure] = useState(false)
  if (sure) {
    return (
      <button
        type="button"
        className="button button-danger"
        data-testid="column-delete"
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
      data-testid="column-delete"
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
