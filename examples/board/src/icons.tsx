import type { ReactNode } from 'react'

const icon = (path: ReactNode) =>
  function Icon(): ReactNode {
    return (
      <svg
        viewBox="0 0 16 16"
        width="16"
        height="16"
        fill="none"
        stroke="currentColor"
        strokeWidth="1.6"
        strokeLinecap="round"
        strokeLinejoin="round"
        aria-hidden="true"
      >
        {path}
      </svg>
    )
  }

export const PlusIcon = icon(<path d="M8 3.5v9M3.5 8h9" />)
export const TrashIcon = icon(<path d="M2.75 4.25h10.5M6.25 4V2.75h3.5V4M4.25 4.5l.5 8.75h6.5l.5-8.75M6.75 7v3.75M9.25 7v3.75" />)
export const UpIcon = icon(<path d="m4 9.75 4-4 4 4" />)
export const CheckIcon = icon(<path d="m3.5 8.5 3 3 6-7" />)
export const CloudIcon = icon(<path d="M4.75 12.5a2.75 2.75 0 0 1-.3-5.48 3.75 3.75 0 0 1 7.2-.52 3 3 0 0 1-.15 6H4.75Z" />)
export const WarnIcon = icon(<path d="M8 2.5 14 13H2L8 2.5ZM8 6.5v3M8 11.25v.01" />)
export const CloseIcon = icon(<path d="m4 4 8 8M12 4l-8 8" />)
export const PenIcon = icon(<path d="m10.75 2.75 2.5 2.5-7.5 7.5-3.25.75.75-3.25 7.5-7.5Z" />)
export const TabIcon = icon(<path d="M6.5 3H3.25v9.75H13V9.5M9 2.75h4.25V7M13 3 7.5 8.5" />)
export const GripIcon = icon(<path d="M6 4v.01M10 4v.01M6 8v.01M10 8v.01M6 12v.01M10 12v.01" strokeWidth="2" />)

/** Two copies of one thing. */
export function Mark(): ReactNode {
  return (
    <svg className="mark" viewBox="0 0 32 32" width="32" height="32" aria-hidden="true">
      <rect x="3" y="3" width="18" height="18" rx="5.5" fill="var(--accent)" opacity="0.35" />
      <rect x="11" y="11" width="18" height="18" rx="5.5" fill="var(--accent)" />
      <circle cx="20" cy="20" r="3.25" fill="var(--on-accent)" />
    </svg>
  )
}
