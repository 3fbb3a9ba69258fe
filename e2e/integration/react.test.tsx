import { createClient } from '@contextd/client'
import type { Client } from '@contextd/client'
import { ContextdProvider, createContextdHooks } from '@contextd/react'
import { act, cleanup, render, waitFor, within } from '@testing-library/react'
import { createContexts, createServer } from 'contextd'
import type { Contexts, Server } from 'contextd'
import { Profiler, StrictMode } from 'react'
import type { ReactNode } from 'react'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'

interface Poll {
  title: string
  votes: number
  options: { id: string; text: string }[]
}
type Polls = { [id: `poll:${string}`]: { state: Poll } }

const { useConnection, useContextd, useContextdClient, useContextdHandle, useContextdMutation, useContextdStatus } =
  createContextdHooks<Polls>()
const initial: Poll = { title: 'Lunch', votes: 0, options: [] }

let contexts: Contexts
let server: Server
const clients: Client<Polls>[] = []
const newClient = (): Client<Polls> => {
  const client = createClient<Polls>({ url: server.url ?? '' })
  clients.push(client)
  return client
}
let errors: unknown[][]

beforeEach(async () => {
  errors = []
  vi.spyOn(console, 'error').mockImplementation((...args) => void errors.push(args))
  contexts = createContexts()
  // The page of these tests has an origin of its own.
  server = createServer({
    contexts,
    cors: { origin: [location.origin] },
    authorize: ({ contextId, action }) => contextId !== 'poll:closed' || action === 'read',
  })
  await server.listen({ port: 0 })
})
afterEach(async () => {
  cleanup()
  await Promise.all(clients.splice(0).map((client) => client.destroy()))
  await server.close()
  await contexts.close()
  vi.restoreAllMocks()
  // React says there what it thinks of a loop or of an update while rendering.
  if (errors.length > 0) throw new Error(`on the console: ${JSON.stringify(errors)}`)
})

const show = (client: Client<Polls>, children: ReactNode): ReturnType<typeof render> =>
  render(
    <StrictMode>
      <ContextdProvider client={client}>{children}</ContextdProvider>
    </StrictMode>,
  )

const press = (view: { container: HTMLElement }): void => within(view.container).getByRole('button').click()

function Votes({ id }: { id: `poll:${string}` }): ReactNode {
  const poll = useContextdHandle(id, { initial })
  const votes = useContextd(id, (state) => state.votes)
  return (
    <button type="button" onClick={() => void poll.at('votes').increment()}>
      {votes ?? 'loading'}
    </button>
  )
}

function Status({ id }: { id: `poll:${string}` }): ReactNode {
  const { phase, pending } = useContextdStatus(id)
  return `${useConnection().name} ${phase} ${pending}`
}

function Options(): ReactNode {
  return useContextd('poll:1', (state) => state.options.map(({ text }) => text))?.join()
}

function VoteOnClosed(): ReactNode {
  const client = useContextdClient()
  const vote = useContextdMutation('poll:closed', (poll, by: number) => poll.at('votes').increment(by))
  return (
    <button type="button" onClick={() => void vote(5)}>
      {client.rejected.get().map(({ error }) => error.code)}
    </button>
  )
}

test('what one client writes, the components of another show', async () => {
  const [ada, bob] = [show(newClient(), <Votes id="poll:1" />), show(newClient(), <Votes id="poll:1" />)]
  await waitFor(() => expect([ada.container.textContent, bob.container.textContent]).toEqual(['0', '0']))
  act(() => {
    for (let vote = 0; vote < 3; vote += 1) press(ada)
  })
  expect(ada.container.textContent).toBe('3')
  await waitFor(() => expect(bob.container.textContent).toBe('3'))
  act(() => press(bob))
  await waitFor(() => expect(ada.container.textContent).toBe('4'))
  expect((await contexts.get('poll:1'))?.state).toMatchObject({ votes: 4 })
})

const Title = (): ReactNode => useContextd('poll:new', ({ title }) => title) ?? 'nothing'

test('`initial` counts for who reads, whoever gives it, and a write creates the context from it', async () => {
  const client = newClient()
  const reader = show(client, <Title />)
  await waitFor(() => expect(client.context('poll:new').status.get().phase).toBe('absent'))
  expect(reader.container.textContent).toBe('nothing')
  const voter = show(client, <Votes id="poll:new" />)
  await waitFor(() => expect([reader.container.textContent, voter.container.textContent]).toEqual(['Lunch', '0']))
  expect(await contexts.get('poll:new')).toBeNull()
  act(() => press(voter))
  await waitFor(async () => expect((await contexts.get('poll:new'))?.state).toEqual({ ...initial, votes: 1 }))
})

test('many components under StrictMode join a context once, and keep it over a remount', async () => {
  let syncs = 0
  server.io.on('connection', (socket) => void socket.onAny((event) => (syncs += event === 'sync' ? 1 : 0)))
  await contexts.set('poll:1', initial)
  const client = newClient()
  const page = (
    <>
      <Votes id="poll:1" />
      <Votes id="poll:1" />
      <Status id="poll:1" />
    </>
  )
  const first = show(client, page)
  await waitFor(() => expect(first.container.textContent).toBe('00connected live 0'))
  first.unmount()
  const second = show(client, page)
  expect(second.container.textContent).toBe('00connected live 0')
  await contexts.update('poll:1', { votes: 7 })
  await waitFor(() => expect(second.container.textContent).toBe('77connected live 0'))
  expect(syncs).toBe(1)
})

test('a part that did not change is not rendered again, whoever writes', async () => {
  await contexts.set('poll:1', { ...initial, options: [{ id: 'a', text: 'Soup' }] })
  const renders = vi.fn<() => void>()
  const client = newClient()
  const view = show(
    client,
    <Profiler id="options" onRender={renders}>
      <Options />
    </Profiler>,
  )
  await waitFor(() => expect(view.container.textContent).toBe('Soup'))
  const before = renders.mock.calls.length
  const { version } = (await contexts.update('poll:1', { votes: 5 })).context
  await waitFor(() => expect(client.context('poll:1').status.get().version).toBe(version))
  await act(async () => void (await client.context('poll:1').at('title').set('Dinner')))
  expect(renders).toHaveBeenCalledTimes(before)
  await contexts.apply('poll:1', [{ type: 'insert', path: ['options'], values: [{ id: 'b', text: 'Bread' }], at: 'end' }])
  await waitFor(() => expect(view.container.textContent).toBe('Soup,Bread'))
})

test('a refused write is rolled back on screen, and offered', async () => {
  await contexts.set('poll:closed', initial)
  const client = newClient()
  const votes = show(client, <Votes id="poll:closed" />)
  const button = show(client, <VoteOnClosed />)
  await waitFor(() => expect(votes.container.textContent).toBe('0'))
  act(() => press(button))
  expect(votes.container.textContent).toBe('5')
  await waitFor(() => expect(votes.container.textContent).toBe('0'))
  expect(client.rejected.get().map(({ error }) => error.code)).toEqual(['forbidden'])
})

test('writes made offline are shown, counted, and saved later', async () => {
  await contexts.set('poll:1', initial)
  const client = newClient()
  const view = show(
    client,
    <>
      <Votes id="poll:1" /> <Status id="poll:1" />
    </>,
  )
  await waitFor(() => expect(view.container.textContent).toBe('0 connected live 0'))
  act(() => client.disconnect())
  act(() => press(view))
  await waitFor(() => expect(view.container.textContent).toMatch(/^1 (offline|idle) stale 1$/))
  act(() => client.connect())
  await waitFor(() => expect(view.container.textContent).toBe('1 connected live 0'))
  expect((await contexts.get('poll:1'))?.state).toMatchObject({ votes: 1 })
})
