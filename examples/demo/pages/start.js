// oxlint-disable-next-line import/no-absolute-path -- an address of the server, not of the disk
import { createClient } from '/contextd.js'

const $ = (id) => document.getElementById(id)
const client = createClient({ url: location.origin })
const board = client.context('board:demo')

function show() {
  const { name } = client.connection.get()
  const state = board.get()
  $('dot').dataset.state = name
  if (!state) {
    $('live').textContent = name === 'connected' ? 'Nobody has written to the board yet.' : `${name} …`
    return
  }
  const cards = state.columns.flatMap((column) => column.cards)
  const votes = cards.reduce((sum, card) => sum + card.votes, 0)
  $('live').textContent = `board:demo is at version ${board.status.get().version}: ${count(cards.length, 'card')}, ${count(votes, 'vote')}`
}

const count = (number, what) => `${number} ${what}${number === 1 ? '' : 's'}`

board.subscribe(show)
board.status.subscribe(show)
client.connection.subscribe(show)
show()

if (location.port !== '4000') $('command').textContent += ` ${location.origin}`
$('copy').onclick = async () => {
  await navigator.clipboard.writeText($('command').textContent)
  $('copy').textContent = 'Copied'
  setTimeout(() => ($('copy').textContent = 'Copy'), 1_500)
}
