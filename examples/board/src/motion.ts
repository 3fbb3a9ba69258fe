const still = matchMedia('(prefers-reduced-motion: reduce)')

/**
 * Lets cards glide from where they were to where they are, whoever moved them.
 * Positions are those of the layout, inside the board, so that neither scrolling nor a glide that is still under way counts as a move.
 */
export class Motion {
  #root: HTMLElement | null = null
  #places = new Map<string, { left: number; top: number; width: number }>()
  #measuring = false

  /** Takes the board's element, or, with null, lets it go. */
  readonly attach = (root: HTMLElement | null): void => {
    this.#root = root
    this.#places.clear()
    if (root) this.#places = positions(root)
  }

  /** To be told after each render that may have moved a card. */
  readonly rendered = (): void => {
    if (this.#measuring) return
    this.#measuring = true
    // After all components of this render, before the browser paints it.
    queueMicrotask(() => {
      this.#measuring = false
      this.#glide()
    })
  }

  /** Lets a card start from where it was dropped, `x` and `y` in the window. */
  from(cardId: string, x: number, y: number): void {
    const root = this.#root
    const place = this.#places.get(cardId)
    if (!root || !place) return
    const { left, top } = root.getBoundingClientRect()
    this.#places.set(cardId, { ...place, left: x - left + root.scrollLeft, top: y - top + root.scrollTop })
  }

  #glide(): void {
    const root = this.#root
    if (!root) return
    const before = this.#places
    this.#places = positions(root)
    if (still.matches) return
    for (const element of cardsIn(root)) {
      const id = element.dataset['id'] ?? ''
      const [was, is] = [before.get(id), this.#places.get(id)]
      if (!was || !is) appear(element)
      // Another width is another layout of the page, not a move.
      else if (was.width === is.width) glide(element, was.left - is.left, was.top - is.top)
    }
  }
}

const cardsIn = (root: HTMLElement): NodeListOf<HTMLElement> => root.querySelectorAll<HTMLElement>('.card')

function positions(root: HTMLElement): Map<string, { left: number; top: number; width: number }> {
  const places = new Map<string, { left: number; top: number; width: number }>()
  for (const element of cardsIn(root)) {
    places.set(element.dataset['id'] ?? '', { left: element.offsetLeft, top: element.offsetTop, width: element.offsetWidth })
  }
  return places
}

function glide(element: HTMLElement, x: number, y: number): void {
  if (Math.abs(x) < 1 && Math.abs(y) < 1) return
  element.animate(
    [
      { transform: `translate(${x}px, ${y}px)`, zIndex: 1 },
      { transform: 'none', zIndex: 1 },
    ],
    {
      duration: 240,
      easing: 'cubic-bezier(0.2, 0.8, 0.2, 1)',
    },
  )
}

function appear(element: HTMLElement): void {
  element.animate(
    [
      { opacity: 0, transform: 'translateY(-6px) scale(0.97)' },
      { opacity: 1, transform: 'none' },
    ],
    {
      duration: 200,
      easing: 'ease-out',
    },
  )
}
