import { existsSync, readFileSync } from 'node:fs'

const root = new URL('../../', import.meta.url)

/** A test that a page names. */
export interface NamedTest {
  /** From the root of the workspace. */
  readonly file: string
  readonly title: string
}

/** The tests that a part of a page names, each as `[name](link to its file): title`, with `<br>` between them. */
export function namedTests(text: string): NamedTest[] {
  const links = text.matchAll(/\[[^\]]+\]\((?:\.\.\/)+([^)]+\.(?:test|spec)\.tsx?)\): (.*?)(?=<br>| \||$)/gm)
  return [...links].map(([, file, title]) => ({ file: file!, title: title! }))
}

/** Those that are not there: the file is missing, or has no test of that title. One of a table has the values of its row in its title. */
export const missingTests = (tests: readonly NamedTest[]): NamedTest[] => tests.filter((test) => !exists(test))

function exists({ file, title }: NamedTest): boolean {
  const at = new URL(file, root)
  if (!existsSync(at)) return false
  const titles = titlesIn(readFileSync(at, 'utf8'))
  if (titles.has(title)) return true
  for (const each of titles) {
    const values = /%\w/.test(each) && patternOf(each).exec(title)
    if (values && values.slice(1).every((value) => titles.has(value))) return true
  }
  return false
}

/** Every text of a source: titles, and the values of tables that make titles. */
const titlesIn = (source: string): Set<string> =>
  new Set([...source.matchAll(/'((?:[^'\\\n]|\\.)*)'/g)].map(([, text]) => text!.replaceAll(/\\(.)/g, '$1')))

const patternOf = (template: string): RegExp =>
  new RegExp(`^${template.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&').replaceAll(/%\w/g, '(.+)')}$`)
