import type { ConcurrencyRow, Outcome } from './concurrency-row.ts'
import { concurrencyTable } from './concurrency-table.ts'

const intro = `# What two people at once get

Everybody writes without waiting. A write is shown at once, and sent as what was *meant* – set this key, count up, put this item behind that one – and the server applies what it is sent in one order for
everybody. When two write at the same time, the second one's operations are applied to the state that the first one has made. This page says what comes of that, call by call.

Each row is a test: both calls are made on the same state, and both orders are tried. *A, then B* is the state when A's commit comes first. **refused** means that the later commit is refused with that code: it is
rolled back on its author's screen, its promise rejects, and it is kept in \`client.rejected\` to be offered again. Nothing is ever half applied.

This page is generated from those tests (\`protocol/src/testing/concurrency-table.ts\`); a change of it without a change of the tests fails.

## In short

- Different keys, different items, different fields of one item: both writes are there.
- One key, two values: the later one wins. To count, use \`increment\`; to change what you have read, use a \`transaction\`.
- Lists whose items have an id are merged by it, wherever the items have moved. Give your items ids.
- An edit of something that is gone is refused (\`conflict\`); it never brings half of it back.
- \`update\` sends the leaves that differ from what is on screen; only \`set\` replaces a value as a whole.
`

const outro = `
## Conditions

What a row cannot show, because it depends on more than two calls:

- **\`transaction(fn)\`** (client) runs on the state on screen. What it reads becomes a test of its commit. Where a test fails, it runs again on the newer state, up to \`retries\` times (3); after that its promise
  rejects with \`conflict\`. The engine's \`transact\` does the same on the server.
- **\`ifVersion\`, \`ifRevision\`** are refused with \`conflict\` when the context is no longer there; they are not tried again.
- **Locks** keep others out of a part of a context for longer than one commit: see [locks.md](locks.md).
- **Offline** changes nothing of the above: what was written offline is applied, in its order, after what others have written meanwhile.
- **Two who create** one context at the same time: it is created once, from the first one's \`initial\`; both writes are in it.
- **A write to a context that was deleted meanwhile** is refused with \`not_found\`; it does not create it again.
`

const cell = (text: string): string => text.replaceAll('|', String.raw`\|`)
const code = (value: unknown): string => cell(`\`${JSON.stringify(value).replaceAll(/([,:])(?=\S)/g, '$1 ')}\``)
const outcome = ({ state, refused }: Outcome): string => (refused ? `${code(state)}, second **refused** (\`${refused}\`)` : code(state))

function rowOf({ state, a, b, aFirst, bFirst, rule }: ConcurrencyRow): string {
  return `| ${[code(state), `\`${cell(a.call)}\``, `\`${cell(b.call)}\``, outcome(aFirst), outcome(bFirst), cell(rule)].join(' | ')} |`
}

function tableOf(group: string, rows: readonly ConcurrencyRow[]): string {
  const head = '| both see | A calls | B calls | A, then B | B, then A | the rule |\n|---|---|---|---|---|---|'
  return `\n## ${group}\n\n${head}\n${rows.map(rowOf).join('\n')}\n`
}

/** The guide "What two people at once get", as Markdown. */
export function concurrencyGuide(): string {
  return (
    intro +
    Object.entries(concurrencyTable)
      .map(([group, rows]) => tableOf(group, rows))
      .join('') +
    outro
  )
}
