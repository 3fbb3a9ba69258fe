import { createId } from '@contextd/client'
import type { ListPosition, Transaction, Write } from '@contextd/client'
import type { Board, BoardHandle, Card } from './board.ts'

/*
 * What people do to a board. One action is one commit: the change itself, and who made it.
 * A transaction is run again when somebody else's commit came first, so it looks for its card where that is by then. It looks outside of
 * `tx`: what is read through `tx` must not change until the commit, and a whole board always does.
 */

function act(board: BoardHandle, by: string, did: string, change: (tx: Transaction<Board>) => void): Write {
  return board.transaction((tx) => {
    change(tx)
    tx.at('lastWriter').set({ name: by, did, at: Date.now() })
  })
}

/** Does something to a card, in whichever column it lies; a card that is gone is left alone. */
function actOnCard(
  board: BoardHandle,
  by: string,
  did: string,
  card: Card,
  change: (tx: Transaction<Board>, columnId: string) => void,
): Write {
  return board.transaction((tx) => {
    const columnId = columnOf(board.get(), card.id)
    if (columnId === undefined) return
    change(tx, columnId)
    tx.at('lastWriter').set({ name: by, did: `${did} ${quoted(card.text)}`, at: Date.now() })
  })
}

export function renameBoard(board: BoardHandle, by: string, title: string): Write {
  return act(board, by, `named the board ${quoted(title)}`, (tx) => tx.at('title').set(title))
}

export function addColumn(board: BoardHandle, by: string, title: string): Write {
  return act(board, by, `added the column ${quoted(title)}`, (tx) => tx.at('columns').append({ id: createId(), title, cards: [] }))
}

export function renameColumn(board: BoardHandle, by: string, columnId: string, title: string): Write {
  return act(board, by, `named a column ${quoted(title)}`, (tx) => tx.at('columns', { id: columnId }, 'title').set(title))
}

export function removeColumn(board: BoardHandle, by: string, columnId: string, title: string): Write {
  return act(board, by, `removed the column ${quoted(title)}`, (tx) => tx.at('columns').remove({ id: columnId }))
}

export function addCard(board: BoardHandle, by: string, columnId: string, text: string): Write {
  const card: Card = { id: createId(), text, votes: 0, by }
  return act(board, by, `added ${quoted(text)}`, (tx) => tx.at('columns', { id: columnId }, 'cards').append(card))
}

export function editCard(board: BoardHandle, by: string, card: Card, text: string): Write {
  return actOnCard(board, by, 'edited', { ...card, text }, (tx, columnId) =>
    tx.at('columns', { id: columnId }, 'cards', { id: card.id }, 'text').set(text),
  )
}

/** Adds to whatever the count is on the server by then, so that two votes at once are two votes. */
export function vote(board: BoardHandle, by: string, card: Card): Write {
  return actOnCard(board, by, 'voted for', card, (tx, columnId) =>
    tx.at('columns', { id: columnId }, 'cards', { id: card.id }, 'votes').increment(),
  )
}

export function removeCard(board: BoardHandle, by: string, card: Card): Write {
  return actOnCard(board, by, 'deleted', card, (tx, columnId) => tx.at('columns', { id: columnId }, 'cards').remove({ id: card.id }))
}

/** Puts a card in front of another one, or, with null, at the end of a column. */
export function moveCard(board: BoardHandle, by: string, card: Card, to: Place): Write {
  const position: ListPosition = to.before === null ? 'end' : { before: { id: to.before } }
  return actOnCard(board, by, 'moved', card, (tx, columnId) =>
    tx.at('columns', { id: columnId }, 'cards').move({ id: card.id }, position, tx.at('columns', { id: to.columnId }, 'cards')),
  )
}

/** Where a card goes. */
export interface Place {
  readonly columnId: string
  readonly before: string | null
}

/** The place one step away from where a card is; null at the edge. */
export function placeBeside(board: Board, cardId: string, key: 'ArrowUp' | 'ArrowDown' | 'ArrowLeft' | 'ArrowRight'): Place | null {
  const columnAt = board.columns.findIndex((column) => column.cards.some(({ id }) => id === cardId))
  const column = board.columns[columnAt]
  if (!column) return null
  const cardAt = column.cards.findIndex(({ id }) => id === cardId)
  if (key === 'ArrowUp') return cardAt === 0 ? null : { columnId: column.id, before: column.cards[cardAt - 1]?.id ?? null }
  if (key === 'ArrowDown')
    return cardAt === column.cards.length - 1 ? null : { columnId: column.id, before: column.cards[cardAt + 2]?.id ?? null }
  const target = board.columns[columnAt + (key === 'ArrowLeft' ? -1 : 1)]
  return target ? { columnId: target.id, before: target.cards[cardAt]?.id ?? null } : null
}

/** Whether a card already is where it is asked to go. */
export function isAt(board: Board, cardId: string, place: Place): boolean {
  const column = board.columns.find(({ id }) => id === place.columnId)
  const cardAt = column?.cards.findIndex(({ id }) => id === cardId) ?? -1
  if (!column || cardAt === -1) return false
  return place.before === cardId || (column.cards[cardAt + 1]?.id ?? null) === place.before
}

function columnOf(board: Board | undefined, cardId: string): string | undefined {
  return board?.columns.find((column) => column.cards.some(({ id }) => id === cardId))?.id
}

function quoted(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ')
  return `“${line.length > 40 ? `${line.slice(0, 39).trimEnd()}…` : line}”`
}
