import type { ReactNode } from 'react'
import { hueOf } from './visitor.ts'

/** The initial of a name, in that name's colour. */
export function Avatar({ name }: { name: string }): ReactNode {
  return (
    <span className="avatar" style={{ '--hue': hueOf(name) } as React.CSSProperties} aria-hidden="true">
      {String.fromCodePoint(name.codePointAt(0) ?? 63).toUpperCase()}
    </span>
  )
}
