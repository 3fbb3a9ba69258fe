import { render } from '@testing-library/react'
import { Activity } from 'react'
import type { ReactNode } from 'react'
import { describe, expect, it } from 'vitest'
import { graceMs } from './context-store.ts'
import { boards, useSources } from './support.test.ts'

const test = useSources()
const Votes = (): ReactNode => boards.useContextd('board:1', (board) => board.votes)
const hidable = (mode: 'visible' | 'hidden'): ReactNode => (
  <Activity mode={mode}>
    <Votes />
  </Activity>
)
const crowd = (mode: 'visible' | 'hidden', others: readonly string[]): ReactNode => (
  <>
    <Activity mode={mode}>
      <Votes />
    </Activity>
    {others.map((key) => (
      <Votes key={key} />
    ))}
  </>
)

describe('useContextd under an Activity, which is in React 19 only', () => {
  it('lives on when React hides a component for longer than the grace time and shows it again', () => {
    const view = render(hidable('visible'), { wrapper: test.below })
    view.rerender(hidable('hidden'))
    test.pass(graceMs)
    expect(test.counts('board:1')).toEqual({ subscribed: 1, open: 0, left: 1 })
    view.rerender(hidable('visible'))
    test.put('board:1', { votes: 9 })
    expect(view.container.textContent).toBe('9')
    expect(test.counts('board:1').open).toBe(1)
  })

  it('shares the subscription of a component that came back with those that come later', () => {
    const view = render(crowd('visible', []), { wrapper: test.below })
    view.rerender(crowd('hidden', []))
    test.pass(graceMs)
    view.rerender(crowd('hidden', ['a']))
    view.rerender(crowd('visible', ['a']))
    view.rerender(crowd('visible', []))
    test.pass(graceMs)
    const { subscribed } = test.counts('board:1')
    view.rerender(crowd('visible', ['b', 'c']))
    expect(test.counts('board:1')).toMatchObject({ subscribed, open: 1 })
  })
})
