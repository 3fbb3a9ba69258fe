import { EventEmitter, on } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import type { Head } from '@contextd/protocol'
import { noHead } from '../../backends/backend.ts'
import type { ContextBackend } from '../../backends/backend.ts'
import type { StorePublishing } from '../../backends/publishing.ts'
import { restoreOf } from './archive-cases.ts'
import { at, batchOf, contextId, everything, fact, recordOf, refuse, same, store, storeMany, synced } from './kit.ts'
import type { KitCase } from './kit.ts'

/** Several backends on one store, and how they hear of each other. */
export const handleCases: readonly KitCase[] = [
  fact('what one backend has stored another sees at once', async ({ backend, another }) => {
    const other = await another()
    const [, second] = await storeMany(backend, 2, { members: [{}, {}] })
    same(await everything(other), await everything(backend))
    const third = await store(other, { base: second!.head, members: [{ stream: at(1) }] })
    same(await everything(backend), await everything(other))
    same((await recordOf(backend)).last, 1)
    same((await synced(backend, { head: second!.head, known: second!.head })).row!.head, third.head)
    same((await refuse(backend, batchOf({ base: second!.head }))).type, 'conflict')
    await store(backend, { base: third.head, remove: true })
    same(await everything(other), await everything(backend))
  }),

  fact('a backend opened later has all that was stored', async ({ backend, another }) => {
    const [first] = await storeMany(backend, 1)
    const second = await store(backend, { base: first!.head, members: [{ stream: at(1) }] })
    await synced(backend, { stream: { epoch: 3, told: 1 } })
    const later = await another()
    same(await everything(later), await everything(backend))
    same((await recordOf(later, { epoch: 4 })).epoch, 4)
    await store(later, { base: second.head, members: [{ stream: at(2, { epoch: 4 }) }] })
  }),

  fact('opening twice is opening once', async ({ backend }) => {
    await Promise.all([backend.open(), backend.open()])
    const { head } = await store(backend)
    await backend.open()
    same(await backend.heads([contextId]), [head])
  }),

  fact('a backend hears of what another has stored', async ({ backend, another, patienceMs }) => {
    const other = await another()
    if (backend.publishing.type === 'publish') await hearsMessages(backend, other, patienceMs)
    if (backend.publishing.type === 'poll') await hearsChange(backend, other, patienceMs)
  }),

  fact('who has ended listening hears nothing more, and takes nothing from others', async ({ backend, another, patienceMs }) => {
    if (backend.publishing.type === 'none' || backend.publishing.type === 'beacon') return
    const other = await another()
    const heard = { ended: 0, goesOn: 0 }
    const goesOn = (): void => void (heard.goesOn += 1)
    // One function may listen twice.
    const [end, endOne, endOther] = [() => void (heard.ended += 1), goesOn, goesOn].map((listener) => listenTo(backend, listener))
    end!()
    endOne!()
    const deadline = performance.now() + patienceMs
    let base = noHead
    for (let index = 1; heard.goesOn === 0; index += 1) {
      if (performance.now() > deadline) throw new Error('Nothing is heard.')
      base = (await store(other, { base, message: messageOf(index) })).head
      await delay(20)
    }
    endOther!()
    same(heard.ended, 0, 'what was ended is not called')
  }),

  fact('G2: what is published is stored: who hears of a version reads it', async ({ backend, another, patienceMs }) => {
    const other = await another()
    if (other.publishing.type === 'publish') await readsWhatItHears(backend, other, other.publishing, patienceMs)
  }),
]

/** Listens to what others store, in the way that the backend has. Returns the end of it. */
function listenTo({ publishing }: ContextBackend, listener: () => void): () => void {
  if (publishing.type === 'publish') return publishing.subscribe(contextId, listener)
  return publishing.type === 'poll' ? publishing.onChange(listener) : () => {}
}

async function readsWhatItHears(writer: ContextBackend, reader: ContextBackend, hears: StorePublishing, patienceMs: number): Promise<void> {
  const reads: Promise<void>[] = []
  let heard = 0
  const stop = hears.subscribe(contextId, (message) => {
    const [, [, , version]] = JSON.parse(message) as [string, [string, string, number]]
    heard = version
    const check = ([head]: readonly Head[]): void => same(head!.version >= version, true, `version ${version} is published, and not stored`)
    reads.push(reader.heads([contextId]).then(check))
    // Told below.
    reads.at(-1)!.catch(() => {})
  })
  try {
    const deadline = performance.now() + patienceMs
    let base = noHead
    // The subscription may take a moment.
    for (let more = 20; more > 0; more -= heard > 0 ? 1 : 0) {
      if (performance.now() > deadline) throw new Error('Nothing is heard.')
      base = (await store(writer, { base, message: messageOf(base.version + 1) })).head
      if (heard === 0) await delay(5)
    }
    await Promise.all(reads)
  } finally {
    stop()
  }
}

async function hearsChange(backend: ContextBackend, other: ContextBackend, patienceMs: number): Promise<void> {
  if (backend.publishing.type !== 'poll') return
  const heard = new EventEmitter()
  const stop = backend.publishing.onChange(() => heard.emit('changed'))
  const changes = on(heard, 'changed', { signal: AbortSignal.timeout(patienceMs) })
  try {
    const { head } = await store(other)
    await changes.next()
    same(await backend.heads([contextId]), [head])
    const next = await store(other, { base: head })
    await changes.next()
    same(await backend.heads([contextId]), [next.head])
    const restored = restoreOf({ base: next.head })
    same(await other.restore(restored), { type: 'restored' })
    await changes.next()
    same(await backend.heads([contextId]), [restored.head])
    const removed = await store(other, { base: restored.head, remove: true })
    await changes.next()
    same(await backend.heads([contextId]), [removed.head])
  } finally {
    stop()
  }
}

const messageOf = (index: number): string => JSON.stringify(['h', [contextId, 'é😀', index, 'r']])

/** Restores with a message, after a restore that is refused with another; returns the head. */
async function restoreWith(backend: ContextBackend, base: Head, index: number): Promise<Head> {
  const wrong = restoreOf({ base: { ...base, revision: 'other' }, message: messageOf(-index) })
  same((await backend.restore(wrong)).type, 'conflict')
  const batch = restoreOf({ base, message: messageOf(index) })
  same(await backend.restore(batch), { type: 'restored' })
  return batch.head
}

/** Deletes, with a message, after a batch that has nothing to tell; returns the head. */
async function removeWith(backend: ContextBackend, base: Head, index: number): Promise<Head> {
  const { head: silent } = await store(backend, { base })
  return (await store(backend, { base: silent, remove: true, message: messageOf(index) })).head
}

/** The message of every batch and restore that is stored comes once, in their order, to both; those of refused ones do not. */
async function hearsMessages(backend: ContextBackend, other: ContextBackend, patienceMs: number): Promise<void> {
  const heard = new EventEmitter()
  const stops = [backend, other].map(({ publishing }, index) =>
    publishing.type === 'publish' ? publishing.subscribe(contextId, (message) => heard.emit(`message-${index}`, message)) : () => {},
  )
  const lists = [0, 1].map((index) => on(heard, `message-${index}`, { signal: AbortSignal.timeout(patienceMs) }))
  try {
    // The subscriptions may take a moment: until both have heard one of these.
    let base = (await store(backend, { message: messageOf(0) })).head
    const first = lists.map((list) => list.next())
    const ready = Promise.all(first).then(() => true)
    let probes = 1
    while (!(await Promise.race([ready, new Promise<false>((done) => setTimeout(done, 20, false))]))) {
      base = (await store(backend, { base, message: messageOf(0) })).head
      probes += 1
    }
    const sent: string[] = []
    for (let index = 1; index <= 20; index += 1) {
      const writer = index % 2 === 0 ? backend : other
      await refuse(writer, batchOf({ base: { ...base, revision: 'other' }, message: messageOf(-index) }))
      if (index % 5 === 0) base = await restoreWith(writer, base, index)
      else if (index % 7 === 0) base = await removeWith(writer, base, index)
      else base = (await store(writer, { base, message: messageOf(index) })).head
      sent.push(messageOf(index))
    }
    for (const list of lists) {
      const got: string[] = []
      for (let most = probes + 20; got.length < 20 && most > 0; most -= 1) {
        const { value } = (await list.next()) as { value: [string] }
        if (value[0] !== messageOf(0)) got.push(value[0])
      }
      same(got, sent)
    }
  } finally {
    for (const stop of stops) stop()
  }
}
