import { useState } from 'react'
import type { KeyboardEvent, ReactNode } from 'react'

/** The demo's server takes this many characters on a card. */
const most = 280

/** A field for the text of a card. Enter saves, Shift+Enter starts a line, Escape or leaving it empty gives up. */
export function TextForm({
  text,
  label,
  submit,
  testId,
  leave,
  onSave,
  onClose,
}: {
  text: string
  label: string
  /** What the button says. */
  submit: string
  testId: string
  /** What leaving the field with something in it does. */
  leave: 'save' | 'keep'
  onSave(text: string): void
  onClose(): void
}): ReactNode {
  const [draft, setDraft] = useState(text)
  const save = (): void => {
    if (draft.trim()) onSave(draft.trim())
    else onClose()
  }
  const onKeyDown = (event: KeyboardEvent): void => {
    event.stopPropagation()
    if (event.key === 'Escape') onClose()
    if (event.key !== 'Enter' || event.shiftKey || event.nativeEvent.isComposing) return
    event.preventDefault()
    setDraft(text)
    save()
  }
  return (
    <form
      className="text-form"
      onSubmit={(event) => {
        event.preventDefault()
        setDraft(text)
        save()
      }}
      onBlur={(event) => {
        if (event.currentTarget.contains(event.relatedTarget)) return
        if (!draft.trim() || draft.trim() === text) onClose()
        else if (leave === 'save') save()
      }}
    >
      <textarea
        aria-label={label}
        data-testid={testId}
        value={draft}
        rows={2}
        placeholder="What needs doing?"
        ref={focusAtEnd}
        onChange={(event) => setDraft(event.target.value)}
        onKeyDown={onKeyDown}
      />
      <div className="text-form-row">
        <button type="submit" className="button">
          {submit}
        </button>
        <button type="button" className="button button-quiet" onClick={onClose}>
          Cancel
        </button>
        {draft.length > most - 40 && (
          <span className="count" data-over={draft.length > most}>
            {draft.length} of {most}
          </span>
        )}
      </div>
    </form>
  )
}

function focusAtEnd(field: HTMLTextAreaElement | null): void {
  if (!field) return
  field.focus()
  field.setSelectionRange(field.value.length, field.value.length)
}
