/** Where the bucket is. What is not given comes from the environment. */
export interface S3BackendOptions {
  readonly bucket: string
  /** Start of every object's name: installations with different ones share a bucket. Default none. */
  readonly prefix?: string
  /** `https://host[:port]` of the service; the bucket is named in the path then. Default `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, else AWS. */
  readonly endpoint?: string
  /** Default `AWS_REGION`, `AWS_DEFAULT_REGION`, else `us-east-1`. */
  readonly region?: string
  /** Default `AWS_ACCESS_KEY_ID`. */
  readonly accessKeyId?: string
  /** Default `AWS_SECRET_ACCESS_KEY`; a session token comes from `AWS_SESSION_TOKEN` only. */
  readonly secretAccessKey?: string
}
const optionNames: ReadonlySet<string> = new Set<keyof S3BackendOptions>([
  'bucket',
  'prefix',
  'endpoint',
  'region',
  'accessKeyId',
  'secretAccessKey',
])

/** Who signs requests. */
export interface S3Keys {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
}

/** Options, checked. */
export interface S3Settings {
  /** URL of the bucket, without a slash at its end. */
  readonly url: string
  /** Start of every object's name: '', or with a slash at its end. */
  readonly prefix: string
  readonly region: string
  /** Null: there are none, which `open()` says. */
  readonly keys: S3Keys | null
  /** What bucket it is, for messages to whoever runs the process: without keys. */
  readonly address: string
}

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>

const form = 's3://bucket[/prefix][?endpoint=https://host:port&region=name]'
const bucketPattern = /^[a-z0-9][a-z0-9.\-_]{1,61}[a-z0-9]$/i
const prefixPattern = /^(?:[A-Za-z0-9_-][A-Za-z0-9._-]*\/)*$/

/**
 * Checks what `s3Backend` was given.
 * @throws {TypeError} no bucket is named, or an option is malformed; the message repeats no key
 */
export function checkOptions(given: string | S3BackendOptions | undefined, environment: Environment): S3Settings {
  const options = typeof given === 'string' ? parseUrl(given) : given
  if (typeof options !== 'object' || options === null) throw new TypeError(`s3Backend needs a bucket: ${form}, or { bucket }.`)
  const { bucket } = options
  if (typeof bucket !== 'string' || !bucketPattern.test(bucket)) {
    throw new TypeError(`s3Backend needs a bucket: ${form}, or { bucket }. Its name has 3 to 63 of a-z 0-9 . - _`)
  }
  for (const [name, value] of Object.entries(options)) {
    if (!optionNames.has(name)) throw new TypeError(`s3Backend has no option ${name}; it has ${[...optionNames].join(', ')}.`)
    if (value !== undefined && (typeof value !== 'string' || value === ''))
      throw new TypeError(`${name} of s3Backend is a text, not empty.`)
  }
  const region = options.region ?? given1(environment, 'AWS_REGION', 'AWS_DEFAULT_REGION') ?? 'us-east-1'
  if (!/^[a-z0-9-]+$/i.test(region)) throw new TypeError('The region of a bucket is made of a-z 0-9 -.')
  const endpoint = options.endpoint ?? given1(environment, 'AWS_ENDPOINT_URL_S3', 'AWS_ENDPOINT_URL')
  const url = endpoint === undefined ? awsUrl(bucket, region) : `${checkEndpoint(endpoint)}/${bucket}`
  const prefix = checkPrefix(options.prefix ?? '')
  const address = `The S3 bucket ${bucket}${endpoint === undefined ? '' : ` at ${new URL(url).host}`}`
  return { url, prefix, region, keys: keysOf(options, environment), address }
}

/** Bucket in the host's name, as AWS wants it; not one with dots, which no certificate covers. */
const awsUrl = (bucket: string, region: string): string =>
  bucket.includes('.') ? `https://s3.${region}.amazonaws.com/${bucket}` : `https://${bucket}.s3.${region}.amazonaws.com`

const given1 = (environment: Environment, ...names: readonly string[]): string | undefined =>
  names.map((name) => environment[name]).find((value) => value !== undefined && value !== '')

function keysOf(options: S3BackendOptions, environment: Environment): S3Keys | null {
  if ((options.accessKeyId === undefined) !== (options.secretAccessKey === undefined)) {
    throw new TypeError('s3Backend needs accessKeyId and secretAccessKey together, or neither.')
  }
  if (options.accessKeyId !== undefined) return { accessKeyId: options.accessKeyId, secretAccessKey: options.secretAccessKey! }
  const accessKeyId = given1(environment, 'AWS_ACCESS_KEY_ID')
  const secretAccessKey = given1(environment, 'AWS_SECRET_ACCESS_KEY')
  const sessionToken = given1(environment, 'AWS_SESSION_TOKEN')
  if (accessKeyId === undefined || secretAccessKey === undefined) return null
  return { accessKeyId, secretAccessKey, ...(sessionToken !== undefined && { sessionToken }) }
}

function checkEndpoint(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null
  const known = url?.protocol === 'https:' || url?.protocol === 'http:'
  if (url === null || !known || url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw new TypeError('The endpoint of a bucket is a URL such as https://host:port, without user, password and query.')
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`
}

function checkPrefix(text: string): string {
  const prefix = text === '' || text.endsWith('/') ? text : `${text}/`
  // Room for the longest id within the 1,024 bytes of a name.
  if (prefixPattern.test(prefix) && prefix.length <= 256) return prefix
  throw new TypeError(
    'The prefix of a bucket is made of A-Z a-z 0-9 . _ - /, at most 256 of them, no part of it empty or with a dot in front.',
  )
}

function parseUrl(text: string): S3BackendOptions {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url?.protocol !== 's3:' || url.port !== '' || url.hash !== '') throw malformed()
  if (url.username !== '' || url.password !== '') {
    throw new TypeError('Keys do not belong into the URL of a bucket. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.')
  }
  const given = [...url.searchParams]
  const query = Object.fromEntries(given)
  const isKnown = given.every(([name, value]) => (name === 'endpoint' || name === 'region') && value !== '')
  if (!isKnown || Object.keys(query).length !== given.length) throw malformed()
  const prefix = url.pathname.replace(/^\//, '')
  return { bucket: url.hostname, ...(prefix !== '' && { prefix }), ...query }
}

const malformed = (): TypeError => new TypeError(`The URL of a bucket is malformed. It looks like this: ${form}.`)
