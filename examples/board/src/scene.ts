import { createContext, useContext } from 'react'
import type { BoardHandle, Card } from './board.ts'
import type { Motion } from './motion.ts'

/** What columns and cards share. */
export interface Scene {
  readonly board: BoardHandle
  readonly motion: Motion
  /** Moves a card one step. */
  onArrow: (card: Card, key: 'ArrowUp' | 'ArrowDown' | 'ArrowLeft' | 'ArrowRight') => void
}

const SceneContext = createContext<Scene | null>(null)
export const SceneProvider = SceneContext.Provider

/** The scene, as the board gives it. */
export function useScene(): Scene {
  const scene = useContext(SceneContext)
  if (!scene) throw new TypeError('useScene: render this inside of a board')
  return scene
}
