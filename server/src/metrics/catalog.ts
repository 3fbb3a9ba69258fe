import type { Counts } from '../socket/counters.ts'
import type { EngineMeasures } from './engine-measures.ts'
import type { Histogram, Tally } from './histogram.ts'
import { commitOutcomes, syncKinds } from './store-measures.ts'
import type { StoreMeasures } from './store-measures.ts'

/** What the metrics of a server are read from. */
export interface Measured {
  readonly engine: EngineMeasures
  readonly store: StoreMeasures
  readonly counts: Counts
  readonly sockets: { readonly open: number; readonly sessions: number; readonly rooms: number; readonly toldByBeacon: number }
  readonly bytes: { readonly received: number; readonly sent: number }
  readonly eventStreams: number
  readonly info: { readonly version: string; readonly store: string }
}

/** Values of the labels, and the value. */
export type Sample = readonly [labels: readonly string[], value: number | Histogram]
/** One metric. None of its labels is an id: there are few series, however many contexts and users. */
export interface Metric {
  readonly name: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly labels: readonly string[]
  readonly help: string
  readonly read: (at: Measured) => Iterable<Sample>
}

type Read = (at: Measured) => number | Histogram | Iterable<Sample>

function metric(type: Metric['type'], name: string, labels: readonly string[], help: string, read: Read): Metric {
  return {
    name: `contextd_${name}`,
    type,
    labels,
    help,
    read: (at) => {
      const found = read(at)
      return typeof found === 'object' && Symbol.iterator in found ? found : [[[], found]]
    },
  }
}

/** The samples of a tally whose names are made of the values of the labels; those named in advance are there from the beginning, at 0. */
function* tallied({ counts }: Pick<Tally, 'counts'>, known: readonly string[] = []): Generator<Sample> {
  const all = new Map<string, number>([...known.map((name) => [name, 0] as const), ...counts])
  for (const [name, count] of all) yield [name.split(' '), count]
}

/** The metrics of contextd, as `/metrics` tells them; beside them stand those of the process. */
export const metrics: readonly Metric[] = [
  metric('gauge', 'info', ['version', 'store'], 'Always 1: the version of contextd, and the kind of the store.', ({ info }) => [
    [[info.version, info.store], 1],
  ]),
  // Commits
  metric('counter', 'commits_total', ['outcome'], 'Commits that the store has answered, by outcome.', ({ store }) =>
    tallied(store.commits, commitOutcomes),
  ),
  metric('counter', 'commit_refusals_total', ['code'], 'Commits that were refused, by the code of the error.', ({ store }) =>
    tallied(store.refusals),
  ),
  metric(
    'counter',
    'conflicts_total',
    [],
    'Batches that another node had overtaken; they were computed again.',
    ({ store }) => store.conflicts,
  ),
  metric('histogram', 'batch_commits', [], 'Commits of a stored batch.', ({ store }) => store.batchCommits),
  metric('histogram', 'batch_bytes', [], 'Bytes of what a stored batch tells each subscriber.', ({ store }) => store.batchBytes),
  metric(
    'histogram',
    'commit_seconds',
    [],
    'Time from a message of a client to the answer to its first commit; of at most one message in a millisecond.',
    ({ counts }) => counts.commitSeconds ?? [],
  ),
  // Syncs
  metric('counter', 'syncs_total', ['answer'], 'Syncs of clients, by answer.', ({ store }) => tallied(store.syncs, syncKinds)),
  metric(
    'counter',
    'resets_total',
    ['reason'],
    'Clients whose history the store does not have: commits were lost, or a context was restored.',
    ({ store }) => tallied(store.resets, ['rolled_back', 'restored']),
  ),
  // Clients
  metric('gauge', 'sockets', [], 'Connections of clients.', ({ sockets }) => sockets.open),
  metric('gauge', 'sessions', [], 'Sessions on these connections.', ({ sockets }) => sockets.sessions),
  metric('gauge', 'event_streams', [], 'Streams of server-sent events.', ({ eventStreams }) => eventStreams),
  metric('gauge', 'rooms', [], 'Contexts that clients of this node have open.', ({ sockets }) => sockets.rooms),
  metric('counter', 'messages_total', ['event'], 'Messages of clients, by event.', ({ counts }) => tallied(counts.messages)),
  metric('counter', 'socket_bytes_total', ['direction'], 'Bytes on the WebSockets of clients, with their framing.', ({ bytes }) => [
    [['received'], bytes.received],
    [['sent'], bytes.sent],
  ]),
  metric(
    'counter',
    'slow_consumers_total',
    [],
    'Times that a client fell too far behind, and was sent nothing more until it had caught up.',
    ({ counts }) => counts.slowConsumers,
  ),
  metric('gauge', 'slow_consumers', [], 'Clients that are too far behind now.', ({ counts }) => counts.mutedSockets),
  metric(
    'counter',
    'refused_connections_total',
    ['reason'],
    'Connections that were refused: by origin, by the number of one address, or by the code of the error.',
    ({ counts }) => [[['origin'], counts.refusedOrigins], [['address'], counts.refusedAddresses], ...tallied(counts.refusedUsers)],
  ),
  metric(
    'counter',
    'rate_limited_total',
    [],
    'Messages and frames of commits above what may come per second.',
    ({ counts }) => counts.rateLimited,
  ),
  metric(
    'counter',
    'undecodable_total',
    [],
    'Frames that could not be read; each has cost its connection.',
    ({ counts }) => counts.undecodable,
  ),
  metric('counter', 'unknown_events_total', [], 'Events that nobody listens to.', ({ counts }) => counts.unknownEvents),
  metric('counter', 'http_requests_total', ['method', 'status'], 'Answers of the HTTP API.', ({ counts }) => tallied(counts.requests)),
  metric(
    'histogram',
    'http_request_seconds',
    [],
    'Time of an answer of the HTTP API, but for streams of events.',
    ({ counts }) => counts.requestSeconds,
  ),
  // Store
  metric('histogram', 'store_call_seconds', ['call'], 'Time of a call of the store, by call.', ({ store }) =>
    [...store.seconds].map(([call, seconds]) => [[call], seconds]),
  ),
  metric('counter', 'store_errors_total', ['call', 'code'], 'Calls of the store that failed.', ({ store }) => tallied(store.errors)),
  metric('gauge', 'live_contexts', [], 'Contexts in memory.', ({ engine }) => engine.parts.live.size),
  metric(
    'gauge',
    'open_contexts',
    [],
    'Contexts that somebody has open on this node, whose heads it reads.',
    ({ engine }) => engine.parts.beacon.size,
  ),
  metric(
    'gauge',
    'beacon_stretch_ratio',
    [],
    'Time in which all these heads are read, as a multiple of the interval: above 1, lost publications heal later.',
    ({ engine }) => engine.parts.beacon.stretch,
  ),
  metric(
    'counter',
    'beacon_told_total',
    [],
    'Heads that clients were told since they may have missed a publication.',
    ({ sockets }) => sockets.toldByBeacon,
  ),
  // The cluster
  metric('gauge', 'leader', [], '1 while this node leads.', ({ engine }) => Number(engine.parts.leader.isLeader)),
  metric('counter', 'leader_terms_total', [], 'Times that this node began to lead.', ({ engine }) => engine.parts.leader.terms),
  metric('gauge', 'locks', [], 'Locks that this process holds.', ({ engine }) => engine.parts.locks.held),
  metric(
    'counter',
    'lock_requests_total',
    ['result'],
    'Locks that this process asked for: taken, or held by another all the time that it waited.',
    ({ engine }) => [
      [['taken'], engine.parts.locks.counts.taken],
      [['locked'], engine.parts.locks.counts.locked],
    ],
  ),
  metric('gauge', 'sources', [], 'Sources of this node, led or not.', ({ engine }) => engine.sources.added),
  metric(
    'gauge',
    'sources_failing',
    [],
    'Sources that this node fetches, and whose last refresh failed.',
    ({ engine }) => engine.sources.failing,
  ),
  metric('counter', 'source_refreshes_total', ['result'], 'Refreshes of sources on this node.', ({ engine }) =>
    tallied(engine.sources.refreshes, ['done', 'failed']),
  ),
  metric(
    'histogram',
    'source_refresh_seconds',
    [],
    'Time of a refresh, from the fetch to what it stores.',
    ({ engine }) => engine.sources.seconds,
  ),
  metric('counter', 'cleanups_total', ['result'], 'Cleanups on this node.', ({ engine }) => [
    [['done'], engine.parts.cleanup.counts.runs],
    [['failed'], engine.parts.cleanup.counts.failures],
  ]),
  metric('counter', 'cleaned_contexts_total', [], 'Contexts that expired by them.', ({ engine }) => engine.parts.cleanup.counts.contexts),
  metric('counter', 'cleaned_deltas_total', [], 'Deltas that they pruned.', ({ engine }) => engine.parts.cleanup.counts.deltas),
]
