import type { ReactNode } from 'react'

/** What stands in the place of a board that cannot be shown. */
export function Notice({ title, children }: { title: string; children: ReactNode }): ReactNode {
  return (
    <main className="notice" role="alert">
      <h2>{title}</h2>
      <p>{children}</p>
      <a className="button" href={`?board=${crypto.randomUUID().slice(0, 8)}`}>
        Start a new board
      </a>
    </main>
  )
}
