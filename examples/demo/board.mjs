import { defineContext } from 'contextd'

const most = { text: 280, title: 80, name: 24 }

/**
 * The server's word on boards: what is written to a `board:…` must be one. Written out by hand, so that the example needs no schema library;
 * anything that speaks Standard Schema (zod, valibot, arktype, …) can stand here.
 */
export const boardContext = defineContext('board:*', { state: { '~standard': { version: 1, vendor: 'contextd-example', validate } } })

function validate(value) {
  const issues = [...faults(value)]
  return issues.length > 0 ? { issues } : { value }
}

function* faults(board) {
  yield* tooLong(board.title, most.title, 'The title of a board', ['title'])
  if (board.lastWriter !== null) yield* tooLong(board.lastWriter?.name, most.name, 'A name', ['lastWriter', 'name'])
  for (const [column, path] of items(board.columns, ['columns'])) {
    yield* tooLong(column?.title, most.title, 'The title of a column', [...path, 'title'])
    for (const [card, place] of items(column?.cards, [...path, 'cards'])) yield* cardFaults(card, place)
  }
  if (!Array.isArray(board.columns)) yield { message: 'A board has columns.', path: ['columns'] }
}

function* cardFaults(card, path) {
  yield* tooLong(card?.text, most.text, 'A card', [...path, 'text'])
  if (!Number.isInteger(card?.votes)) yield { message: 'Votes are a whole number.', path: [...path, 'votes'] }
}

function* items(list, path) {
  if (!Array.isArray(list)) return
  for (const [index, item] of list.entries()) yield [item, [...path, index]]
}

function* tooLong(text, limit, what, path) {
  if (typeof text !== 'string') yield { message: `${what} is a text.`, path }
  else if (text.length > limit) yield { message: `${what} takes at most ${limit} characters, this one has ${text.length}.`, path }
}
