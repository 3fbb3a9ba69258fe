import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { fileURLToPath } from 'node:url'
import { createContexts, createServer, isContextdError, openBackend } from 'contextd'
import { boardContext } from './board.mjs'
import { serveFiles } from './files.mjs'

const at = (place) => fileURLToPath(new URL(place, import.meta.url))
const font = fileURLToPath(import.meta.resolve('@fontsource-variable/inter/files/inter-latin-wght-normal.woff2'))

/**
 * Runs the examples on one address of this machine: contexts, connection and pages.
 * `store`: where the contexts are, as `openBackend` reads it. Answers `{ url, where, close() }`.
 */
export async function startDemo({ port, store }) {
  const contexts = createContexts({ backend: openBackend(store), contexts: [boardContext] })
  const server = createServer({
    contexts,
    // Everybody may write, except to this one, so that a refusal can be seen.
    authorize: ({ contextId, action }) => action === 'read' || action === 'list' || contextId !== 'board:readonly',
  })
  const files = serveFiles({
    '/': at('pages'),
    '/board/': at('../board/dist'),
    '/vanilla/': at('../vanilla'),
    '/inter.woff2': font,
  })
  const http = createHttpServer(files)
  server.attach(http)
  try {
    // Before anybody can connect: a wrong address or password of the store is one line here, not an error at the first click.
    await createBoard(contexts)
    http.listen(port, '127.0.0.1')
    await once(http, 'listening')
  } catch (error) {
    await contexts.close()
    throw error
  }
  return {
    url: `http://127.0.0.1:${http.address().port}/`,
    where: describe(store),
    async close() {
      await server.close()
      await new Promise((resolve) => {
        http.close(resolve)
        http.closeAllConnections()
      })
      await contexts.close()
    },
  }
}

/** Creates the board that pages and script start with, unless it is there. */
async function createBoard(contexts) {
  const initial = JSON.parse(await readFile(at('../board/src/initial.json'), 'utf8'))
  try {
    await contexts.set('board:demo', initial, { ifVersion: 0 })
  } catch (error) {
    if (!isContextdError(error, 'conflict')) throw error
  }
}

/** A store as it may be printed: addresses can hold passwords. */
function describe(store) {
  if (store.startsWith('sqlite:')) return `the file ${store.slice('sqlite:'.length)}`
  return store.startsWith('memory:') ? 'memory' : 'Redis'
}
