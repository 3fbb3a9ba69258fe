import { createContext, useContext, useState } from 'react'

const key = 'contextd-board-name'
const names = ['Ada', 'Alan', 'Barbara', 'Donald', 'Edsger', 'Frances', 'Grace', 'Hedy', 'Katherine', 'Margaret', 'Radia', 'Tim']

/** Who looks at this page: a name that the visitor can change. */
export interface Visitor {
  readonly name: string
  readonly rename: (name: string) => void
}

const VisitorContext = createContext<Visitor | null>(null)
export const VisitorProvider = VisitorContext.Provider

/** The visitor, as the provider gives it. */
export function useVisitor(): Visitor {
  const visitor = useContext(VisitorContext)
  if (!visitor) throw new TypeError('useVisitor: render this below <VisitorProvider>')
  return visitor
}

/** A name given in the address (`?name=Ada`) counts for this page only, so that two tabs of one browser can be two people. */
export function useNewVisitor(): Visitor {
  const [name, setName] = useState(() => new URL(location.href).searchParams.get('name')?.trim().slice(0, 24) || kept() || newName())
  return {
    name,
    rename: (given) => {
      setName(given)
      keep(given)
      const address = new URL(location.href)
      if (!address.searchParams.has('name')) return
      address.searchParams.set('name', given)
      history.replaceState(null, '', address)
    },
  }
}

/** A colour that always is the same for a name, as a hue in degrees. */
export function hueOf(name: string): number {
  let hash = 0
  for (const letter of name) hash = (hash * 17 + (letter.codePointAt(0) ?? 0)) % 4_096
  // Golden angle: names that differ little differ much in colour.
  return Math.round((hash * 137.508) % 360)
}

function newName(): string {
  const name = names[Math.floor(Math.random() * names.length)] ?? 'Ada'
  keep(name)
  return name
}

// Storage may be forbidden to the page; a name that is not remembered is no reason to fail.
function kept(): string | null {
  try {
    return localStorage.getItem(key)
  } catch {
    return null
  }
}
function keep(name: string): void {
  try {
    localStorage.setItem(key, name)
  } catch {
    // See above.
  }
}
