import type { HandleOf } from '@contextd/client'
import { createContextdHooks } from '@contextd/react'
import start from './initial.json' with { type: 'json' }

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
export const initial: Board = start

/** The board that the address names: `?board=board:team`, or just `?board=team`. */
export function boardIdFrom(address: URL): BoardId {
  const asked = address.searchParams.get('board')?.trim() || 'demo'
  return asked.startsWith('board:') ? (asked as BoardId) : `board:${asked}`
}
