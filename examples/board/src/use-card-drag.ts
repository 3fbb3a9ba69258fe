import { useCallback, useEffect, useRef, useState } from 'react'
import type { PointerEvent as ReactPointerEvent } from 'react'
import type { Place } from './actions.ts'

/** A drag under way: which card, and where it would go. */
export interface Drag {
  readonly cardId: string
  readonly over: Place | null
}
/** What a drop is told: where, and where on the screen the card was let go. */
export type OnDrop = (cardId: string, place: Place, at: { x: number; y: number }) => void

/** Movement from which a press is a drag, px: below it is a click. */
const threshold = 5
const nearEdge = 56

/**
 * Drags cards with mouse, pen or finger. A mouse takes a card anywhere; a finger at its grip, since everywhere else it scrolls.
 * @returns the drag under way, and what goes on the board's element
 */
export function useCardDrag(onDrop: OnDrop): { drag: Drag | null; onPointerDown: (event: ReactPointerEvent) => void } {
  const [drag, setDrag] = useState<Drag | null>(null)
  const cancel = useRef<() => void>(() => {})
  const latest = useRef(onDrop)
  useEffect(() => {
    latest.current = onDrop
  })
  useEffect(() => () => cancel.current(), [])

  const onPointerDown = useCallback((event: ReactPointerEvent) => {
    const card = pressedCard(event)
    if (!card) return
    cancel.current()
    cancel.current = follow(event.nativeEvent, card, {
      over: (cardId, over) => setDrag((now) => (now && same(now.over, over) ? now : { cardId, over })),
      end: (dropped) => {
        setDrag(null)
        if (dropped) latest.current(dropped.cardId, dropped.place, dropped.at)
      },
    })
  }, [])
  return { drag, onPointerDown }
}

interface Course {
  over(cardId: string, place: Place | null): void
  end(dropped: { cardId: string; place: Place; at: { x: number; y: number } } | null): void
}

/** Follows a pointer from its press to its release; returns the function that breaks it off. */
function follow(start: PointerEvent, card: HTMLElement, course: Course): () => void {
  const cardId = card.dataset['id'] ?? ''
  const box = card.getBoundingClientRect()
  const grip = { x: start.clientX - box.left, y: start.clientY - box.top }
  const listening = new AbortController()
  let copy: HTMLElement | null = null
  let place: Place | null = null

  const move = (event: PointerEvent): void => {
    if (event.pointerId !== start.pointerId) return
    if (!copy) {
      if (Math.hypot(event.clientX - start.clientX, event.clientY - start.clientY) < threshold) return
      copy = floating(card, box)
    }
    copy.style.translate = `${event.clientX - grip.x}px ${event.clientY - grip.y}px`
    scrollAtEdge(event)
    place = placeAt(event.clientX, event.clientY, cardId)
    course.over(cardId, place)
  }
  const finish = (event: PointerEvent | null): void => {
    listening.abort()
    document.documentElement.classList.remove('dragging')
    const dragged = copy !== null
    copy?.remove()
    if (dragged) suppressClick()
    const at = event ? { x: event.clientX - grip.x, y: event.clientY - grip.y } : null
    course.end(dragged && place && at ? { cardId, place, at } : null)
  }
  const { signal } = listening
  addEventListener('pointermove', move, { signal })
  addEventListener('pointerup', (event) => event.pointerId === start.pointerId && finish(event), { signal })
  addEventListener('pointercancel', (event) => event.pointerId === start.pointerId && finish(null), { signal })
  addEventListener('keydown', (event) => event.key === 'Escape' && finish(null), { signal })
  return () => {
    if (!signal.aborted) finish(null)
  }
}

function pressedCard(event: ReactPointerEvent): HTMLElement | null {
  const target = event.target as Element
  if (event.button !== 0 || target.closest('textarea, input, .card-editing, button:not([data-grip])')) return null
  if (event.pointerType === 'touch' && !target.closest('[data-grip]')) return null
  return target.closest<HTMLElement>('.card')
}

/** A copy of the card that hangs on the pointer. */
function floating(card: HTMLElement, box: DOMRect): HTMLElement {
  const copy = card.cloneNode(true) as HTMLElement
  for (const name of ['data-id', 'data-testid', 'tabindex']) copy.removeAttribute(name)
  for (const inner of copy.querySelectorAll('[data-testid]')) inner.removeAttribute('data-testid')
  copy.setAttribute('aria-hidden', 'true')
  copy.classList.replace('card', 'card-floating')
  copy.style.width = `${box.width}px`
  document.body.append(copy)
  document.documentElement.classList.add('dragging')
  return copy
}

function placeAt(x: number, y: number, cardId: string): Place | null {
  const column = columnAt(x, y)
  if (!column) return null
  const cards = [...column.querySelectorAll<HTMLElement>('.card')].filter((card) => card.dataset['id'] !== cardId)
  const next = cards.find((card) => {
    const { top, height } = card.getBoundingClientRect()
    return y < top + height / 2
  })
  return { columnId: column.dataset['id'] ?? '', before: next?.dataset['id'] ?? null }
}

/** The column under the pointer, else the one above or below it. */
function columnAt(x: number, y: number): HTMLElement | null {
  const hit = document.elementFromPoint(x, y)?.closest<HTMLElement>('.column')
  if (hit) return hit
  const columns = [...document.querySelectorAll<HTMLElement>('.column')]
  return columns.find((column) => column.getBoundingClientRect().left <= x && x <= column.getBoundingClientRect().right) ?? null
}

function scrollAtEdge(event: PointerEvent): void {
  const scroller = document.querySelector<HTMLElement>('[data-scroller]')
  if (event.clientX < nearEdge) scroller?.scrollBy({ left: -16 })
  else if (event.clientX > innerWidth - nearEdge) scroller?.scrollBy({ left: 16 })
  if (event.clientY < nearEdge) scrollBy({ top: -16 })
  else if (event.clientY > innerHeight - nearEdge) scrollBy({ top: 16 })
}

// The release of a drag that ends on its own card counts as a click in the browser, which would start editing.
function suppressClick(): void {
  addEventListener('click', stop, { capture: true, once: true })
  setTimeout(() => removeEventListener('click', stop, { capture: true }))
}

function same(a: Place | null, b: Place | null): boolean {
  return a?.columnId === b?.columnId && a?.before === b?.before
}

function stop(event: Event): void {
  event.preventDefault()
  event.stopPropagation()
}
