import { memo, useLayoutEffect, useState } from 'react'
import type { KeyboardEvent, ReactNode } from 'react'
import { editCard, removeCard, vote } from './actions.ts'
import { Avatar } from './avatar.tsx'
import type { Card } from './board.ts'
import { GripIcon, TrashIcon, UpIcon } from './icons.tsx'
import { useScene } from './scene.ts'
import { TextForm } from './text-form.tsx'
import { useVisitor } from './visitor.ts'

/** One card. What did not change keeps its identity, so only the cards that changed render again. */
export const CardView = memo(function CardView({
  card,
  lifted,
  dropBefore,
}: {
  card: Card
  lifted: boolean
  dropBefore: boolean
}): ReactNode {
  const { board, motion, onArrow } = useScene()
  const { name } = useVisitor()
  const [editing, setEditing] = useState(false)
  useLayoutEffect(() => motion.rendered())

  const onKeyDown = (event: KeyboardEvent<HTMLElement>): void => {
    if (event.target !== event.currentTarget) return
    if (event.altKey && event.key.startsWith('Arrow')) {
      event.preventDefault()
      onArrow(card, event.key as 'ArrowUp')
    } else if (event.key === 'Enter' || event.key === 'F2') {
      event.preventDefault()
      setEditing(true)
    } else if (event.key === 'Delete') void removeCard(board, name, card)
  }
  if (editing) {
    return (
      <li className="card card-editing" data-testid="card" data-id={card.id}>
        <TextForm text={card.text} onSave={(text) => void editCard(board, name, card, text)} onClose={() => setEditing(false)} />
      </li>
    )
  }
  return (
    <li
      className="card"
      data-testid="card"
      data-id={card.id}
      data-lifted={lifted}
      data-drop={dropBefore}
      tabIndex={0}
      aria-label={card.text}
      aria-describedby="card-keys"
      onKeyDown={onKeyDown}
    >
      <p className="card-text" data-testid="card-text" title="Click to edit" onClick={() => setEditing(true)}>
        {card.text}
      </p>
      <div className="card-row">
        <button
          type="button"
          className="vote"
          data-testid="vote"
          aria-label={`Vote for ${card.text}: ${card.votes} so far`}
          data-any={card.votes > 0}
          onClick={() => void vote(board, name, card)}
        >
          <UpIcon />
          <span key={card.votes} className="vote-count" data-testid="votes">
            {card.votes}
          </span>
        </button>
        <span className="by">
          <Avatar name={card.by} /> {card.by}
        </span>
        <button
          type="button"
          className="icon-button card-delete"
          data-testid="delete-card"
          aria-label={`Delete ${card.text}`}
          onClick={() => void removeCard(board, name, card)}
        >
          <TrashIcon />
        </button>
        <button type="button" className="icon-button grip" data-grip tabIndex={-1} aria-hidden="true">
          <GripIcon />
        </button>
      </div>
    </li>
  )
})
