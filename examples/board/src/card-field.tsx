import type { ReactNode } from 'react'

/** The demo's server takes this many characters on a card. */
const most = 280

/** A field that grows with its text, and counts once the text gets long. */
export function CardField({
  value,
  label,
  testId,
  placeholder = '',
  focused = false,
  onChange,
}: {
  value: string
  label: string
  testId: string
  placeholder?: string
  /** Takes the focus when it appears. */
  focused?: boolean
  onChange: (value: string) => void
}): ReactNode {
  return (
    <div className="field" data-value={`${value} `}>
      <textarea
        aria-label={label}
        data-testid={testId}
        value={value}
        rows={1}
        placeholder={placeholder}
        ref={focused ? focusAtEnd : null}
        onChange={(event) => onChange(event.target.value)}
      />
      {value.length > most - 40 && (
        <span className="count" data-over={value.length > most}>
          {value.length} of {most} characters
        </span>
      )}
    </div>
  )
}

function focusAtEnd(field: HTMLTextAreaElement | null): void {
  if (!field) return
  field.focus()
  field.setSelectionRange(field.value.length, field.value.length)
}
