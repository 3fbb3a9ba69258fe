// Appends to the list of one context from a process of its own until it is killed, and tells what was acknowledged:
// node append.mjs <store url> <context> <name> <writers>
import { createContexts, openBackend } from 'contextd'

const [url, id, name, writers] = process.argv.slice(2)
const contexts = createContexts({ backend: openBackend(url) })
const append = async (writer) => {
  for (let n = 0; ; n += 1) {
    await contexts.apply(id, [{ type: 'insert', path: ['list'], values: [`${name}-${writer}-${n}`], at: 'end' }])
    // One that waits to be sent would be gone with the process.
    await new Promise((resolve) => process.send([writer, n], resolve))
  }
}
await Promise.all(Array.from({ length: Number(writers) }, (_, writer) => append(writer)))
