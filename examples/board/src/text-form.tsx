import { useRef, useState } from 'react'
import type { KeyboardEvent, ReactNode } from 'react'
import { CardField } from './card-field.tsx'

/** The text of a card while it is edited. Enter or leaving it saves, Escape does not. */
export function TextForm({ text, onSave, onClose }: { text: string; onSave: (text: string) => void; onClose: () => void }): ReactNode {
  const [draft, setDraft] = useState(text)
  const done = useRef(false)
  // Closing takes the focus away, which would save once more.
  const close = (): void => {
    done.current = true
    onClose()
  }
  const save = (): void => {
    if (done.current) return
    const next = draft.trim()
    if (next && next !== text) onSave(next)
    close()
  }
  const onKeyDown = (event: KeyboardEvent): void => {
    event.stopPropagation()
    if (event.key === 'Escape') close()
    if (event.key !== 'Enter' || event.shiftKey || event.nativeEvent.isComposing) return
    event.preventDefault()
    save()
  }
  return (
    <form
      className="text-form"
      onSubmit={(event) => {
        event.preventDefault()
        save()
      }}
      onBlur={(event) => {
        if (!event.currentTarget.contains(event.relatedTarget)) save()
      }}
      onKeyDown={onKeyDown}
    >
      <CardField value={draft} label="Text of the card" testId="card-edit" focused onChange={setDraft} />
      <div className="text-form-row">
        <button type="submit" className="button">
          Save
        </button>
        <button type="button" className="button button-quiet" onClick={close}>
          Cancel
        </button>
      </div>
    </form>
  )
}
