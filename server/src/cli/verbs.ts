import { flagLines } from './flags.ts'
import type { Flags, Given } from './flags.ts'
import { serveFlags } from './options.ts'
import type { Target } from './target.ts'
import type { Terminal } from './terminal.ts'

/** What a verb works with, besides its arguments. */
export interface Work {
  readonly terminal: Terminal
  readonly given: Given
  readonly positionals: readonly string[]
  readonly target: Target
  /** Opens another place, as `--to` and `--from` name it. */
  open(url: string): Promise<Target>
}
/** What a verb is for, and what there is to say to it. */
export interface Verb {
  /** What stands after its name. */
  readonly takes: string
  readonly help: string
  readonly flags: Flags
  /** Least and most arguments. */
  readonly arguments: readonly [least: number, most: number]
  readonly examples: readonly string[]
}

const common: Flags = {
  url: { kind: 'text', value: 'URL', help: 'the server (default http://127.0.0.1:4000); also from CONTEXTD_URL' },
  token: { kind: 'text', value: 'TOKEN', help: 'bearer token for the server; also from CONTEXTD_TOKEN' },
  store: { kind: 'text', value: 'URL', help: 'a store, opened directly in place of a server: sqlite:FILE, redis://HOST:PORT, …' },
  json: { kind: 'switch', help: 'prints JSON for programs: one value, or one on each line of a stream' },
}
const general: Flags = {
  config: { kind: 'text', value: 'FILE', help: 'reads options from a JSON object with the names of the flags' },
  help: { kind: 'switch', help: 'this text' },
}
const conditions: Flags = {
  'if-version': { kind: 'text', value: 'N', help: 'writes on this version only; 0: only what is not there' },
  'if-revision': { kind: 'text', value: 'REVISION', help: 'writes on this revision only' },
}
const limit = (what: string, least: string): Flags => ({ limit: { kind: 'text', value: 'N', help: `most ${what} (default ${least})` } })

/** The verbs, by name. */
export const verbs: { readonly [name: string]: Verb } = {
  serve: {
    takes: '',
    help: 'serves contexts to clients, over Socket.IO and HTTP',
    flags: { ...serveFlags, ...general },
    arguments: [0, Number.MAX_SAFE_INTEGER],
    examples: ['contextd --store sqlite:app.db --jwks https://login.example/jwks.json --host 0.0.0.0'],
  },
  get: {
    takes: 'ID',
    help: 'prints a context',
    flags: { version: { kind: 'text', value: 'N', help: 'as it was at this version' }, ...common, ...general },
    arguments: [1, 1],
    examples: ['contextd get board:1', 'contextd get board:1 --json | jq .state.title'],
  },
  set: {
    takes: 'ID JSON|-',
    help: 'replaces the whole state; creates the context',
    flags: { ...conditions, ...common, ...general },
    arguments: [1, 2],
    examples: [`contextd set board:1 '{"title":"Plan"}'`, 'contextd set board:1 - < state.json'],
  },
  update: {
    takes: 'ID JSON|-',
    help: 'merges deeply into the state; null removes a key',
    flags: { ...conditions, ...common, ...general },
    arguments: [1, 2],
    examples: [`contextd update board:1 '{"title":"New plan","draft":null}'`],
  },
  delete: {
    takes: 'ID',
    help: 'deletes a context, and its history',
    flags: { ...conditions, ...common, ...general },
    arguments: [1, 1],
    examples: ['contextd delete board:1'],
  },
  watch: {
    takes: 'ID',
    help: 'prints a context, then every commit, until it is deleted or you press Ctrl-C',
    flags: { ...common, ...general },
    arguments: [1, 1],
    examples: ['contextd watch board:1', 'contextd watch board:1 --json | jq -c .delta.changes'],
  },
  list: {
    takes: '',
    help: 'lists contexts by id',
    flags: {
      prefix: { kind: 'text', value: 'P', help: 'only ids that begin with this' },
      ...limit('contexts', '100'),
      offset: { kind: 'text', value: 'N', help: 'skips so many' },
      order: { kind: 'text', value: 'asc|desc', help: 'by id (default asc)' },
      ...common,
      ...general,
    },
    arguments: [0, 0],
    examples: ['contextd list --prefix board: --limit 20'],
  },
  history: {
    takes: 'ID',
    help: 'prints the retained commits of a context, newest first',
    flags: { ...limit('commits', '100'), ...common, ...general },
    arguments: [1, 1],
    examples: ['contextd history board:1 --limit 5'],
  },
  export: {
    takes: '[ID | --prefix P]',
    help: 'writes contexts, one on each line, or into another store',
    flags: {
      prefix: { kind: 'text', value: 'P', help: 'only ids that begin with this (default: all contexts)' },
      to: { kind: 'text', value: 'FILE|URL', help: 'a file, another store or another server (default: standard output)' },
      'to-token': { kind: 'text', value: 'TOKEN', help: 'bearer token for the server of --to' },
      ...common,
      ...general,
    },
    arguments: [0, 1],
    examples: ['contextd export --to backup.ndjson', 'contextd export --prefix board: --store sqlite:old.db --to redis://localhost:6379'],
  },
  restore: {
    takes: '[ID]',
    help: 'puts exported contexts in place of what is there; without --from: what the archive of the server has of ID',
    flags: {
      from: { kind: 'text', value: 'FILE|-|URL', help: 'a file of contextd export, standard input, a store or a server' },
      'from-token': { kind: 'text', value: 'TOKEN', help: 'bearer token for the server of --from' },
      ...common,
      ...general,
    },
    arguments: [0, 1],
    examples: ['contextd restore --from backup.ndjson', 'contextd restore board:1 --from backup.ndjson'],
  },
  cleanup: {
    takes: '',
    help: 'expires contexts and prunes deltas, once',
    flags: {
      ...limit('contexts', '1,000'),
      'context-ttl-ms': {
        kind: 'text',
        value: 'MS',
        help: 'with --store: contexts expire this long after their last use (default: never)',
      },
      'delta-ttl-ms': { kind: 'text', value: 'MS', help: 'with --store: deltas are pruned at this age (default 24 h)' },
      ...common,
      ...general,
    },
    arguments: [0, 0],
    examples: ['contextd cleanup'],
  },
}

/** The flags of all verbs, for what a file may say, and to find the verb on a line; of one name, that of serve counts. */
export const allFlags: Flags = Object.assign({}, ...Object.values(verbs).map(({ flags }) => flags), serveFlags) as Flags

/** The usage of all, or of one verb. */
export function usageOf(name: string | null): string {
  if (name !== null && name !== 'serve') return verbUsage(name, verbs[name]!)
  const width = Math.max(...Object.entries(verbs).map(([verb, { takes }]) => `${verb} ${takes}`.length))
  const lines = Object.entries(verbs).map(([verb, { takes, help }]) => `  ${`${verb} ${takes}`.trim().padEnd(width)}  ${help}`)
  return `Usage: contextd [serve] [options]
       contextd VERB … [options]

${lines.join('\n')}

Options of serve:
${flagLines(verbs['serve']!.flags)}

The options of another verb: contextd VERB --help. Exit codes: 0, 1 failed, 2 not understood.
`
}

const verbUsage = (name: string, { takes, help, flags, examples }: Verb): string => `Usage: contextd ${`${name} ${takes}`.trim()} [options]

${help[0]!.toUpperCase()}${help.slice(1)}.

${flagLines(flags)}

${examples.map((example) => `  ${example}`).join('\n')}
`
