import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const docs = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
const pages = ['README.md', 'CONTRIBUTING.md', ...docs.filter((name) => name.endsWith('.md')).map((name) => join('docs', name))]

const read = (page: string): string => readFileSync(join(root, page), 'utf8')
/** As the page is shown: the words of a heading, lower case, joined by hyphens. */
const anchorsOf = (page: string): string[] =>
  [...read(page).matchAll(/^#+ (.*)$/gm)].map(([, words]) =>
    words!
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  )
/** Links to places in this repository: page, link, the file and the heading that it leads to. */
const links = pages.flatMap((page) =>
  [...read(page).matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, link]) => {
    if (/^[a-z]+:/.test(link!)) return []
    const [file, anchor] = link!.split('#')
    return [{ page, link: link!, file: file === '' ? page : relative(root, join(root, page, '..', file!)), anchor }]
  }),
)

test('every link between the pages leads to a file and a heading that are there', () => {
  expect(links.length).toBeGreaterThan(30)
  const broken = links.filter(({ file, anchor }) => {
    if (file.startsWith('..') || !existsSync(join(root, file))) return true
    return anchor !== undefined && !anchorsOf(file).includes(anchor)
  })
  expect(broken).toEqual([])
})

test('every page is reached from the README', () => {
  const reached = new Set(['README.md'])
  for (const page of reached) {
    for (const { page: from, file } of links) {
      if (from === page && file.endsWith('.md') && statSync(join(root, file), { throwIfNoEntry: false })?.isFile()) reached.add(file)
    }
  }
  expect(pages.filter((page) => !reached.has(page))).toEqual([])
})
