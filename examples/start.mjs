import { parseArgs } from 'node:util'
import { startDemo } from './demo/demo.mjs'

const usage = 'usage: node examples/start.mjs [--port 4000] [--store sqlite:contextd.db|memory:|redis://…]   (port 0: a free one)'
const { PORT = '4000', STORE = 'sqlite:contextd.db' } = process.env

try {
  const { port, store } = readOptions()
  const demo = await startDemo({ port, store })
  console.log(`contextd demo: ${demo.url}   (state in ${demo.where}; Ctrl-C ends it)`)
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => end(demo))
} catch (error) {
  fail(error)
}

function readOptions() {
  try {
    const { values } = parseArgs({ options: { port: { type: 'string', default: PORT }, store: { type: 'string', default: STORE } } })
    const port = Number(values.port)
    if (Number.isInteger(port) && port >= 0 && port <= 65_535) return { port, store: values.store }
    throw new TypeError(`The port is a number from 0 to 65535, not ${values.port}.`)
  } catch (error) {
    console.error(`${error.message}\n${usage}`)
    return process.exit(2)
  }
}

async function end(demo) {
  // A second signal does not wait.
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))
  await demo.close().catch(fail)
  process.exit(0)
}

function fail(error) {
  console.error(error.code === 'EADDRINUSE' ? `Port ${error.port} is taken. Try another: npm start -- --port 0` : error.message)
  process.exit(1)
}
