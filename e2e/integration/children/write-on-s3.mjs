// Writers on contexts of an S3 bucket, in a process of their own, which begin when they are told to:
// node write-on-s3.mjs <process> <writers> <writes>; the bucket is in BUCKET.
import { createContexts } from 'contextd'
import { s3Backend } from 'contextd/backends/s3'

const [process_, writers, writes] = process.argv.slice(2)
const contexts = createContexts({ backend: s3Backend(process.env.BUCKET) })

async function write(writer) {
  const made = []
  for (let n = 0; n < Number(writes); n += 1) {
    const contextId = `mixed:${(writer + n) % 3}`
    const id = `${process_}-${writer}-${n}`
    const { context, result } = await contexts.transact(
      contextId,
      (draft) => {
        draft.count += 1
        draft.ids.push(id)
        return draft.count
      },
      { initial: { count: 0, ids: [] }, retries: 1_000 },
    )
    made.push({ contextId, id, version: context.version, result })
  }
  return made
}

await contexts.get('mixed:0')
process.send('ready')
await new Promise((resolve) => process.once('message', resolve))
const made = await Promise.all(Array.from({ length: Number(writers) }, (_, writer) => write(writer)))
await contexts.close()
process.send(made.flat())
process.disconnect()
