import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, test } from '@playwright/test'
import { startRedisServer } from 'contextd/testing'
import type { RedisServer } from 'contextd/testing'
import { Board, expectSame, shown } from '../support/board.ts'
import { startDemo } from '../support/child.ts'
import type { ServerProcess } from '../support/child.ts'

let directory: string
let redis: RedisServer
test.beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'contextd-e2e-'))
  redis = await startRedisServer({ appendOnly: 'everysec' })
})
test.afterAll(async () => {
  await redis.stop()
  rmSync(directory, { recursive: true, force: true })
})

const servers: ServerProcess[] = []
const tabs: Board[] = []
test.afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.stop()))
  expect(tabs.splice(0).flatMap(({ errors }) => errors)).toEqual([])
})

async function serve(store: string): Promise<ServerProcess> {
  const server = await startDemo(store)
  servers.push(server)
  return server
}
async function open(...args: Parameters<typeof Board.open>): Promise<Board> {
  const tab = await Board.open(...args)
  tabs.push(tab)
  return tab
}
let boards = 0
/** A board of its own for each test. */
const nextBoard = (): string => `board:test${(boards += 1)}`

test('two tabs on one server see each other’s changes', async ({ context }) => {
  const server = await serve(`sqlite:${path.join(directory, 'tabs.db')}`)
  const board = nextBoard()
  const ada = await open(context, server.url, board, 'Ada')
  const bob = await open(context, server.url, board, 'Bob')
  await ada.add('todo', 'Buy milk')
  await expect(bob.card('Buy milk')).toBeVisible()
  await bob.vote('Buy milk', 3)
  await expect(ada.votes('Buy milk')).toHaveText('3')
  await ada.edit('Buy milk', 'Buy oat milk')
  await expect(bob.card('Buy oat milk')).toBeVisible()
  await expect(bob.page.getByTestId('last-writer')).toContainText('Ada')
  await bob.card('Buy oat milk').getByTestId('delete-card').click()
  await expect(ada.card('Buy oat milk')).toHaveCount(0)
  await expectSame(ada, bob)
})

test('tabs on two servers over one Redis see each other’s changes, and votes at once all count', async ({ browser }) => {
  const [first, second] = [await serve(redis.url), await serve(redis.url)]
  const board = nextBoard()
  const ada = await open(await browser.newContext(), first.url, board, 'Ada')
  const bob = await open(await browser.newContext(), second.url, board, 'Bob')
  await ada.add('doing', 'Cross the servers')
  await expect(bob.card('Cross the servers')).toBeVisible()
  await Promise.all([ada.vote('Cross the servers', 10), bob.vote('Cross the servers', 10)])
  await expect(ada.votes('Cross the servers')).toHaveText('20')
  await expect(bob.votes('Cross the servers')).toHaveText('20')
})

test('edits made offline are shown at once, counted as unsaved, and reach the others when online', async ({ context }) => {
  const server = await serve('memory:')
  const board = nextBoard()
  const ada = await open(context, server.url, board, 'Ada')
  const bob = await open(context, server.url, board, 'Bob')
  await ada.saved()
  await ada.toggleOffline()
  await ada.add('todo', 'Written on the train')
  await ada.vote('Written on the train', 2)
  await expect(ada.votes('Written on the train')).toHaveText('2')
  await expect(ada.page.getByTestId('unsaved')).not.toHaveAttribute('data-count', '0')
  await bob.add('todo', 'Written at the desk')
  await expect(ada.card('Written at the desk')).toHaveCount(0)
  await expect(bob.card('Written on the train')).toHaveCount(0)
  await ada.toggleOffline()
  await expect(bob.votes('Written on the train')).toHaveText('2')
  await expect(ada.card('Written at the desk')).toBeVisible()
  await ada.saved()
  await expectSame(ada, bob)
})

for (const store of ['sqlite', 'redis'] as const) {
  test(`a server that is killed and started again on its port loses nothing, on ${store}`, async ({ context }) => {
    const server = await serve(store === 'redis' ? redis.url : `sqlite:${path.join(directory, 'crash.db')}`)
    const board = nextBoard()
    const ada = await open(context, server.url, board, 'Ada')
    const bob = await open(context, server.url, board, 'Bob')
    await ada.add('todo', 'Before the crash')
    await bob.vote('Before the crash', 2)
    await expect(ada.votes('Before the crash')).toHaveText('2')
    await server.crash()
    await ada.add('todo', 'While it is down')
    await bob.vote('Before the crash', 3)
    await server.restart()
    await expect(bob.card('While it is down')).toBeVisible({ timeout: 20_000 })
    await expect(ada.votes('Before the crash')).toHaveText('5')
    await Promise.all([ada.saved(), bob.saved()])
    await expectSame(ada, bob)
  })
}

test('Redis killed and started again: what was saved is there, what was not is saved then', async ({ context }) => {
  const own = await startRedisServer({ appendOnly: 'everysec' })
  const server = await serve(own.url)
  const board = nextBoard()
  const ada = await open(context, server.url, board, 'Ada')
  const bob = await open(context, server.url, board, 'Bob')
  await ada.add('todo', 'Saved before')
  await ada.saved()
  await expect(bob.card('Saved before')).toBeVisible()
  await own.kill()
  await ada.add('todo', 'Written without Redis')
  await bob.vote('Saved before', 2)
  await own.restart()
  await expect(bob.card('Written without Redis')).toBeVisible({ timeout: 30_000 })
  await expect(ada.votes('Saved before')).toHaveText('2', { timeout: 30_000 })
  await Promise.all([ada.saved(), bob.saved()])
  await expectSame(ada, bob)
  await server.stop()
  await own.stop()
})

test('a refused write is rolled back on screen, with a message', async ({ context }) => {
  const server = await serve('memory:')
  const ada = await open(context, server.url, nextBoard(), 'Ada')
  await ada.add('todo', 'A good text')
  await ada.saved()
  await ada.edit('A good text', 'far too long '.repeat(40))
  await expect(ada.page.getByRole('alert')).toBeVisible()
  await expect(ada.card('A good text')).toBeVisible()
  await expect(ada.card('far too long')).toHaveCount(0)
  await ada.saved()
})

test('two tabs drag one card to two columns: one card, in one place', async ({ context }) => {
  const server = await serve('memory:')
  const board = nextBoard()
  const ada = await open(context, server.url, board, 'Ada')
  const bob = await open(context, server.url, board, 'Bob')
  await ada.add('todo', 'Tug of war')
  await expect(bob.card('Tug of war')).toBeVisible()
  // Both drag while neither can see the other's move.
  await ada.toggleOffline()
  await bob.toggleOffline()
  await ada.card('Tug of war').dragTo(ada.column('doing'))
  await expect(ada.column('doing').getByText('Tug of war')).toBeVisible()
  await bob.card('Tug of war').dragTo(bob.column('done'))
  await expect(bob.column('done').getByText('Tug of war')).toBeVisible()
  await ada.toggleOffline()
  await bob.toggleOffline()
  await Promise.all([ada.saved(), bob.saved()])
  await expectSame(ada, bob)
  const places = Object.values(await shown(ada)).flat()
  expect(places.filter((text) => text.includes('Tug of war'))).toHaveLength(1)
})
