import { useState } from 'react'
import type { KeyboardEvent, ReactNode } from 'react'
import { CardField } from './card-field.tsx'
import { PlusIcon } from './icons.tsx'

/** The field for another card at the end of a column. Enter adds it, and is ready for the next. */
export function NewCard({ column, onAdd }: { column: string; onAdd: (text: string) => void }): ReactNode {
  const [draft, setDraft] = useState('')
  const add = (): void => {
    const text = draft.trim()
    setDraft('')
    if (text) onAdd(text)
  }
  const onKeyDown = (event: KeyboardEvent<HTMLElement>): void => {
    if (event.key === 'Escape') setDraft('')
    if (event.key !== 'Enter' || event.shiftKey || event.nativeEvent.isComposing) return
    event.preventDefault()
    add()
  }
  return (
    <form
      className="new-card"
      data-filled={draft !== ''}
      onSubmit={(event) => {
        event.preventDefault()
        add()
      }}
      onKeyDown={onKeyDown}
    >
      <PlusIcon />
      <CardField value={draft} label={`New card in ${column}`} testId="new-card" placeholder="Add a card" onChange={setDraft} />
      {draft.trim() && (
        <button type="submit" className="button">
          Add
        </button>
      )}
    </form>
  )
}
