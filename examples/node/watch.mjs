import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { createClient, createId } from '@contextd/client'

// node examples/node/watch.mjs [url] [--board board:demo] [--name 'A script']
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { board: { type: 'string', default: 'board:demo' }, name: { type: 'string', default: 'A script' } },
})
const client = createClient({
  url: positionals[0] ?? 'http://127.0.0.1:4000',
  onError: (error) => console.log(`! ${error.message}`),
})
const board = client.context(values.board)

client.connection.subscribe(({ name }) => console.log(`· ${name}`))

board.subscribe((state) => {
  if (!state) return
  const { version, pending } = board.status.get()
  const columns = state.columns.map(({ title, cards }) => `${title} ${cards.length}`).join(', ')
  const writer = state.lastWriter
  console.log(`v${version}${pending > 0 ? ` and ${pending} unsaved` : ''}  ${columns}${writer ? `   – ${writer.name} ${writer.did}` : ''}`)
})

/** Adds a card to the first column: the change and who made it, in one commit. */
async function add(text) {
  const column = board.get()?.columns[0]
  if (!column) {
    console.log('! There is no board yet. Open it in a browser and write something first.')
    return
  }
  const write = board.transaction((tx) => {
    tx.at('columns', { id: column.id }, 'cards').append({ id: createId(), text, votes: 0, by: values.name })
    tx.at('lastWriter').set({ name: values.name, did: `added “${text.slice(0, 40)}”`, at: Date.now() })
  })
  // Settles when the server has it; a refusal is told by `onError`.
  await write.then(
    ({ version }) => console.log(`saved as version ${version}`),
    () => {},
  )
}

console.log(`Watching ${values.board}. Each line that you type becomes a card; Ctrl-C ends.`)
const lines = createInterface({ input: process.stdin })
lines.on('line', (line) => line.trim() && add(line.trim()))

process.once('SIGINT', async () => {
  lines.close()
  // What is not saved yet gets a moment.
  await client.flush(2_000).catch((error) => console.log(`! ${error.message}`))
  await client.destroy()
})
