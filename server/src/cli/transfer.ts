import { once } from 'node:events'
import { createReadStream, createWriteStream } from 'node:fs'
import { rename, rm, stat } from 'node:fs/promises'
import { ContextdError } from '@contextd/protocol'
import { allIds } from './all-ids.ts'
import { UsageError } from './flags.ts'
import { readExported } from './lines.ts'
import type { ExportedLine } from './lines.ts'
import { Progress } from './progress.ts'
import { jsonLine } from './show.ts'
import type { Exported, Target } from './target.ts'
import { countOf, write } from './terminal.ts'
import type { Work } from './verbs.ts'

/** Contexts that are on their way at a time. */
const atOnce = 8
/** Contexts of one page of a list. */
const pageSize = 1_000

/** Whether a place is a store or a server, and not a file. */
export const isPlace = (text: string): boolean => /^(?:memory|sqlite|rediss?|s3|https?):/i.test(text)

/** Ids of the contexts whose ids begin with this, in order. */
const idsOf = (target: Target, prefix: string): Promise<string[]> =>
  allIds((page) => target.list({ ...page, prefix, order: 'asc' }), pageSize)

/** Reads contexts a few at a time, in the order of their ids; those that are gone meanwhile are left out. */
async function* exportedOf(
  target: Target,
  ids: readonly string[],
): AsyncGenerator<{ readonly exported: Exported | null; readonly done: number }> {
  const reading: Promise<Exported | null>[] = []
  let next = 0
  const readAhead = (): void => {
    while (reading.length < atOnce && next < ids.length) {
      const each = target.export(ids[next]!)
      // Its failure is told when its turn comes.
      each.catch(() => {})
      reading.push(each)
      next += 1
    }
  }
  for (let done = 1; done <= ids.length; done += 1) {
    readAhead()
    yield { exported: await reading.shift()!, done }
  }
}

/** Where exported contexts go. */
interface Sink {
  take(exported: Exported): Promise<void>
  /** All were taken. */
  finish(): Promise<void>
  /** What was taken is thrown away, where that can be done. */
  abandon(): Promise<void>
}

export async function exportVerb(work: Work): Promise<void> {
  const { terminal, given, positionals, target } = work
  const id = positionals[0]
  const prefix = given.text('prefix')
  if (id !== undefined && prefix !== undefined) throw new UsageError('give either an id or --prefix')
  const ids = id === undefined ? await idsOf(target, prefix ?? '') : [id]
  const to = given.text('to')
  const sink = await sinkOf(work, to)
  const progress = new Progress(terminal, 'exported')
  let count = 0
  try {
    for await (const { exported, done } of exportedOf(target, ids)) {
      if (terminal.signal.aborted) throw new ContextdError('aborted', 'the export was ended')
      if (exported === null && id !== undefined) throw new ContextdError('not_found', `There is no context ${id}.`, { contextId: id })
      if (exported !== null) {
        await sink.take(exported)
        count += 1
      }
      progress.set(count, done / ids.length)
    }
    await sink.finish()
  } catch (error) {
    progress.end()
    await sink.abandon()
    throw error
  }
  progress.end()
  await write(terminal.stderr, `exported ${countOf(count, 'context')}\n`)
}

const nothing = (): Promise<void> => Promise.resolve()

async function sinkOf(work: Work, to: string | undefined): Promise<Sink> {
  if (to === undefined || to === '-') {
    return { take: (exported) => write(work.terminal.stdout, jsonLine(exported)), finish: nothing, abandon: nothing }
  }
  if (isPlace(to)) return storeSink(await work.open(to))
  return fileSink(to)
}

function storeSink(target: Target): Sink {
  const pool = new Pool()
  return {
    take: (exported) => pool.run(async () => void (await target.restore(exported.contextId, exported))),
    finish: () => pool.idle(),
    abandon: () => pool.idle().catch(() => {}),
  }
}

/** Writes beside the file, and puts it in place when it is whole. */
async function fileSink(file: string): Promise<Sink> {
  const part = `${file}.part`
  const stream = createWriteStream(part)
  try {
    await once(stream, 'open')
  } catch (error) {
    throw new UsageError(`--to: ${file} cannot be written: ${(error as { code?: string }).code}`)
  }
  let failure: Error | null = null
  stream.on('error', (error) => (failure = error))
  const check = (): void => {
    if (failure !== null) throw new ContextdError('backend_unavailable', `${file} cannot be written: ${failure.message}`)
  }
  const ended = (): Promise<void> => new Promise((resolve) => stream.end(() => resolve()))
  return {
    async take(exported) {
      await write(stream, jsonLine(exported))
      check()
    },
    async finish() {
      await ended()
      check()
      await rename(part, file)
    },
    async abandon() {
      stream.destroy()
      await rm(part, { force: true })
    },
  }
}

/** Runs work a few at a time; the first failure is thrown, and nothing is begun after it. */
class Pool {
  readonly #running = new Set<Promise<void>>()
  #failure: { readonly error: unknown } | null = null

  /** Begins work when there is room. @throws what failed before */
  async run(work: () => Promise<void>): Promise<void> {
    while (this.#running.size >= atOnce) await Promise.race(this.#running)
    if (this.#failure !== null) throw this.#failure.error
    const running: Promise<void> = work()
      .catch((error: unknown) => {
        this.#failure ??= { error }
      })
      .finally(() => this.#running.delete(running))
    this.#running.add(running)
  }

  /** Resolves when all is done. @throws what failed */
  async idle(): Promise<void> {
    await Promise.all(this.#running)
    if (this.#failure !== null) throw this.#failure.error
  }
}

export async function restoreVerb(work: Work): Promise<void> {
  const { terminal, given, positionals, target } = work
  const id = positionals[0]
  const from = given.text('from')
  if (from === undefined) {
    if (id === undefined) throw new UsageError('say with --from where to restore from, or which ID the archive of the server has')
    const { version } = await target.restore(id)
    return write(terminal.stderr, `restored ${id} at version ${version}\n`)
  }
  const progress = new Progress(terminal, 'restored')
  const pool = new Pool()
  let count = 0
  try {
    for await (const { exported, part, where } of sourceOf(work, from, id)) {
      if (terminal.signal.aborted) throw new ContextdError('aborted', 'the restore was ended')
      await pool.run(async () => {
        await restored(target, exported, where)
        count += 1
        progress.set(count, part)
      })
    }
    await pool.idle()
    if (count === 0 && id !== undefined) throw new ContextdError('not_found', `${from} has no context ${id}.`, { contextId: id })
  } catch (error) {
    await pool.idle().catch(() => {})
    progress.end()
    if (count > 0) await write(terminal.stderr, `restored ${countOf(count, 'context')} before that\n`)
    throw error
  }
  progress.end()
  await write(terminal.stderr, `restored ${countOf(count, 'context')}\n`)
}

async function restored(target: Target, exported: Exported, where: string): Promise<void> {
  try {
    await target.restore(exported.contextId, exported)
  } catch (error) {
    if (!(error instanceof ContextdError)) throw error
    throw new ContextdError(error.code, `${where}: ${error.message}`, { cause: error })
  }
}

interface Sourced {
  readonly exported: Exported
  /** How much of the whole it is, from 0 to 1; null: nobody knows. */
  readonly part: number | null
  /** For messages. */
  readonly where: string
}

async function* sourceOf(work: Work, from: string, id: string | undefined): AsyncGenerator<Sourced> {
  if (isPlace(from)) {
    const source = await work.open(from)
    const ids = id === undefined ? await idsOf(source, '') : [id]
    for await (const { exported, done } of exportedOf(source, ids)) {
      if (exported !== null) yield { exported, part: done / ids.length, where: exported.contextId }
    }
    return
  }
  const { input, size } = from === '-' ? { input: work.terminal.stdin, size: null } : await fileOf(from)
  for await (const { exported, line, bytes } of readExported(input as AsyncIterable<Buffer>) as AsyncIterable<ExportedLine>) {
    if (id !== undefined && exported.contextId !== id) continue
    yield { exported, part: size === null ? null : bytes / size, where: `line ${line} (${exported.contextId})` }
    if (id !== undefined) return
  }
}

async function fileOf(file: string): Promise<{ input: AsyncIterable<Buffer | string>; size: number }> {
  const found = await stat(file).catch((error: { code?: string }) => error)
  if (!('isFile' in found)) throw new UsageError(`--from: ${file} cannot be read: ${found.code}`)
  if (found.isDirectory()) throw new UsageError(`--from: ${file} is a folder`)
  return { input: createReadStream(file), size: found.size }
}
