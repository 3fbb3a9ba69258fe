import { useState } from 'react'
import type { KeyboardEvent, ReactNode } from 'react'

/** A short text that turns into a field when it is pressed. Enter or leaving the field saves, Escape does not. */
export function InlineEdit({
  value,
  label,
  testId,
  maxLength,
  onSave,
  children,
}: {
  value: string
  /** What the field is for, said to those who do not see it. */
  label: string
  testId?: string
  maxLength: number
  onSave: (value: string) => void
  /** How the text is shown. Default: as it is. */
  children?: ReactNode
}): ReactNode {
  const [draft, setDraft] = useState<string | null>(null)
  if (draft === null) {
    return (
      <button type="button" className="inline" data-testid={testId} title={label} onClick={() => setDraft(value)}>
        {children ?? value}
      </button>
    )
  }
  const close = (save: boolean): void => {
    setDraft(null)
    const text = draft.trim()
    if (save && text && text !== value) onSave(text)
  }
  const onKeyDown = (event: KeyboardEvent): void => {
    event.stopPropagation()
    if (event.key === 'Escape') close(false)
    if (event.key === 'Enter' && !event.nativeEvent.isComposing) close(true)
  }
  return (
    <input
      className="inline inline-field"
      data-testid={testId && `${testId}-input`}
      aria-label={label}
      value={draft}
      maxLength={maxLength}
      // The field replaces what was pressed, so the focus belongs in it.
      ref={focusAll}
      onChange={(event) => setDraft(event.target.value)}
      onBlur={() => close(true)}
      onKeyDown={onKeyDown}
    />
  )
}

function focusAll(field: HTMLInputElement | null): void {
  field?.focus()
  field?.select()
}
