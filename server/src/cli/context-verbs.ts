import { ContextdError } from '@contextd/protocol'
import { UsageError, wholeOf } from './flags.ts'
import { objectOf } from './input.ts'
import { deltaLines, jsonLine, prettyJson } from './show.ts'
import type { Conditions, Written } from './target.ts'
import { countOf, counted, harmless, momentOf, paintOf, tableLines, write } from './terminal.ts'
import type { Work } from './verbs.ts'

const defaultLimit = 100
const mostListed = 10_000

/** Prints lines for people, or one value for programs. */
async function print({ terminal, given }: Work, value: unknown, lines: () => readonly string[]): Promise<void> {
  await write(
    terminal.stdout,
    given.on('json')
      ? jsonLine(value)
      : lines()
          .map((line) => `${line}\n`)
          .join(''),
  )
}

const conditionsOf = ({ given }: Work): Conditions => {
  const ifVersion = wholeOf(given, 'if-version', 0)
  const ifRevision = given.text('if-revision')
  return { ...(ifVersion !== undefined && { ifVersion }), ...(ifRevision !== undefined && { ifRevision }) }
}

const limitOf = ({ given }: Work): number => {
  const limit = wholeOf(given, 'limit', 1) ?? defaultLimit
  if (limit > mostListed) throw new UsageError(`--limit: at most ${mostListed}`)
  return limit
}

export async function get(work: Work): Promise<void> {
  const { terminal, given, target } = work
  const id = work.positionals[0]!
  const version = wholeOf(given, 'version', 1)
  const context = version === undefined ? await target.get(id) : await target.at(id, version)
  if (context === null) throw new ContextdError('not_found', `There is no context ${id}.`, { contextId: id })
  const paint = paintOf(terminal, terminal.stdout)
  await print(work, context, () => {
    const { revision, updatedAt, updatedBy, state } = context
    const who = harmless(updatedBy.userId ?? updatedBy.actor)
    const about = `${paint.bold(id)}  version ${context.version}  ${paint.dim(`${revision}  changed ${momentOf(updatedAt)} by ${who}`)}`
    return [...(terminal.stdout.isTTY === true ? [about] : []), prettyJson(state, paint)]
  })
}

export async function set(work: Work): Promise<void> {
  const { terminal, target, positionals } = work
  const conditions = conditionsOf(work)
  const state = await objectOf(positionals[1], 'state', terminal)
  await printWritten(work, await target.set(positionals[0]!, state, conditions))
}

export async function update(work: Work): Promise<void> {
  const { terminal, target, positionals } = work
  const conditions = conditionsOf(work)
  const patch = await objectOf(positionals[1], 'patch', terminal)
  await printWritten(work, await target.update(positionals[0]!, patch, conditions))
}

async function printWritten(work: Work, written: Written): Promise<void> {
  const { context, delta } = written
  const paint = paintOf(work.terminal, work.terminal.stdout)
  const changes =
    delta.version === delta.baseVersion ? 'nothing changed' : delta.baseVersion === 0 ? 'created' : countOf(delta.changes.length, 'change')
  await print(work, written, () => [`${paint.bold(context.contextId)} is at version ${context.version}  ${paint.dim(changes)}`])
}

export async function remove(work: Work): Promise<void> {
  const id = work.positionals[0]!
  await work.target.delete(id, conditionsOf(work))
  const paint = paintOf(work.terminal, work.terminal.stdout)
  await print(work, { contextId: id, deleted: true }, () => [`${paint.bold(id)} is deleted`])
}

export async function list(work: Work): Promise<void> {
  const { terminal, given, target } = work
  const order = given.text('order') ?? 'asc'
  if (order !== 'asc' && order !== 'desc') throw new UsageError(`--order: ${order} is neither asc nor desc`)
  const limit = limitOf(work)
  const offset = wholeOf(given, 'offset', 0) ?? 0
  const contexts = await target.list({ prefix: given.text('prefix') ?? '', limit, offset, order })
  const paint = paintOf(terminal, terminal.stdout)
  await print(work, contexts, () =>
    contexts.length === 0
      ? []
      : tableLines(
          [
            { title: 'context', paint: paint.bold },
            { title: 'version', right: true },
            { title: 'changed' },
            { title: 'created', paint: paint.dim },
          ],
          contexts.map(({ contextId, version, updatedAt, createdAt }) => [
            contextId,
            counted(version),
            momentOf(updatedAt),
            momentOf(createdAt),
          ]),
          paint,
        ),
  )
  if (given.on('json')) return
  if (contexts.length === 0) await write(terminal.stderr, 'no contexts\n')
  else if (contexts.length === limit) await write(terminal.stderr, `there may be more: --offset ${offset + limit}\n`)
}

export async function history(work: Work): Promise<void> {
  const { terminal, target, positionals } = work
  const deltas = await target.history(positionals[0]!, limitOf(work))
  const paint = paintOf(terminal, terminal.stdout)
  await print(work, deltas, () => deltas.flatMap((delta) => deltaLines(delta, paint)))
}

export async function cleanup(work: Work): Promise<void> {
  const removed = await work.target.cleanup(wholeOf(work.given, 'limit', 1))
  await print(work, removed, () => [`${countOf(removed.contexts, 'context')} expired, ${countOf(removed.deltas, 'delta')} pruned`])
}

/** Prints a context, then every commit: lines for people, one JSON value on each line for programs. */
export async function watch(work: Work): Promise<void> {
  const { terminal, given, target, positionals } = work
  const id = positionals[0]!
  const { stdout, stderr, signal } = terminal
  const paint = paintOf(terminal, stdout)
  const told = (message: string): void => void stderr.write(`contextd: ${message}\n`)
  for await (const answer of target.watch(id, signal, told)) {
    if (given.on('json')) await write(stdout, jsonLine(answer))
    else if (answer.type === 'delta') await write(stdout, `${deltaLines(answer.delta, paint).join('\n')}\n`)
    else if (answer.type === 'full_context') {
      const { version, updatedAt, state } = answer.context
      await write(stdout, `${paint.bold(`version ${version}`)}  ${paint.dim(momentOf(updatedAt))}\n${prettyJson(state, paint)}\n`)
    }
  }
  if (!signal.aborted) told(`${id} was deleted`)
}
