import type { HandleOf } from '@contextd/client'
import { createContextdHooks } from '@contextd/react'

/** What a board's context holds. */
export interface Board {
  title: string
  columns: Column[]
  /** Written in the same commit as the change itself; null on a board that nobody has touched. */
  lastWriter: LastWriter | null
}
export interface Column {
  id: string
  title: string
  cards: Card[]
}
export interface Card {
  id: string
  text: string
  votes: number
  by: string
}
export interface LastWriter {
  name: string
  did: string
  at: number
}

export type BoardId = `board:${string}`
export type Boards = { [id: BoardId]: { state: Board } }
export type BoardHandle = HandleOf<Boards, BoardId>

/** The hooks, knowing that a `board:…` is a Board. */
export const { ContextdProvider, useConnection, useContextd, useContextdClient, useContextdHandle, useContextdStatus } =
  createContextdHooks<Boards>()

/** What a board reads as before anybody has written to it. */
export const initial: Board = {
  title: 'Our board',
  columns: [
    {
      id: 'todo',
      title: 'To do',
      cards: [
        { id: 'welcome', text: 'Open this board in a second tab and watch both', votes: 2, by: 'Ada' },
        { id: 'drag-me', text: 'Drag me to another column', votes: 0, by: 'Grace' },
        { id: 'vote-twice', text: 'Vote in two tabs at once: every vote counts', votes: 1, by: 'Ada' },
      ],
    },
    {
      id: 'doing',
      title: 'Doing',
      cards: [{ id: 'offline', text: 'Work offline, write something, come back', votes: 3, by: 'Hedy' }],
    },
    { id: 'done', title: 'Done', cards: [{ id: 'start', text: 'npm start', votes: 5, by: 'Grace' }] },
  ],
  lastWriter: null,
}

/** The board that the address names: `?board=board:team`, or just `?board=team`. */
export function boardIdFrom(address: URL): BoardId {
  const asked = address.searchParams.get('board')?.trim() || 'demo'
  return asked.startsWith('board:') ? (asked as BoardId) : `board:${asked}`
}
