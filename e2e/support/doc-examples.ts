import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const folder = fileURLToPath(new URL('..', import.meta.url))

/** What a statement of an example gave, and what the page says of it. */
export interface Told {
  readonly code: string
  readonly given: unknown
  readonly said: unknown
}

/**
 * Runs the `js` blocks of a text as one module, in a process of its own. A statement is what stands between empty lines; where `// →` follows it, it
 * must be an expression, and what the comment says a value.
 * @param replaced what is put in the place of texts: addresses of servers
 * @throws what the example throws
 */
export async function runExamples(text: string, replaced: { readonly [text: string]: string } = {}): Promise<Told[]> {
  const blocks = [...text.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code!)
  let code = blocks.join('\n')
  for (const [from, to] of Object.entries(replaced)) code = code.replaceAll(from, to)
  const program = ['const $told = []', ...code.split(/\n\s*\n/).map(checked), 'process.stdout.write(JSON.stringify($told))'].join('\n')
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program], { cwd: folder })
  return JSON.parse(stdout) as Told[]
}

function checked(statement: string): string {
  const [code, said] = statement.split(/^\/\/ → /m)
  if (said === undefined) return statement
  const value = said.replaceAll(/^\/\/ ?/gm, '')
  return `$told.push({ code: ${JSON.stringify(code)}, given: ${code!.trim()}, said: ${value.trim()} })`
}
