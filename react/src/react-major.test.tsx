import { version } from 'react'
import { version as domVersion } from 'react-dom'
import { expect, it } from 'vitest'

it('the tests of this project run on the React that its name says', () => {
  const major = process.env['REACT_MAJOR']!
  expect([version, domVersion].map((full) => full.split('.')[0])).toEqual([major, major])
})
