import { execFile, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { AwsV4Signer } from 'aws4fetch'
import { freezeProcess } from './freeze-process.ts'

/** Whom an S3 server knows. */
export interface S3Keys {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** An S3 server of a test's own, on 127.0.0.1: the object gateway of Ceph over a store in memory. */
export interface S3Server {
  /** `http://127.0.0.1:PORT`. */
  readonly endpoint: string
  /** Of a user who may do everything. */
  readonly keys: S3Keys
  /** Of one who may read what the other has, and nothing else. */
  readonly readOnlyKeys: S3Keys
  /** Makes a bucket. */
  createBucket(name: string): Promise<void>
  /** Stops the gateway where it is, connections open, as a machine that hangs (SIGSTOP). */
  freeze(): void
  /** Lets it go on after `freeze`. */
  thaw(): void
  /** Ends it and removes its files. */
  stop(): Promise<void>
}

const packages = 'ceph-mon ceph-osd radosgw'
/** How long the parts of the server may take to come up, ms: they are three processes and a dozen pools. */
const patienceMs = 120_000
const run = promisify(execFile)

/** Processes that run: none outlives this one. */
const running = new Set<ChildProcess>()
let watched = false

/**
 * Starts an S3 server for tests, on free ports, in a directory of its own: some ten seconds, so one for a test file.
 * @throws {Error} it is not installed, or does not start
 */
export async function startS3Server(): Promise<S3Server> {
  for (let attempt = 1; ; attempt += 1) {
    const directory = await mkdtemp(join(tmpdir(), 'contextd-s3-'))
    const server = new TestS3Server(directory)
    try {
      await server.start(await freePort(), await freePort())
      return server
    } catch (error) {
      await server.stop()
      // Somebody else may have taken a port since it was looked for.
      if (attempt === 3 || !/in use|bind/i.test(String(error))) throw error
    }
  }
}

class TestS3Server implements S3Server {
  readonly keys: S3Keys = { accessKeyId: 'test', secretAccessKey: 'testsecret' }
  readonly readOnlyKeys: S3Keys = { accessKeyId: 'reader', secretAccessKey: 'readersecret' }
  endpoint = ''
  readonly #directory: string
  readonly #children: ChildProcess[] = []

  constructor(directory: string) {
    this.#directory = directory
  }

  async start(monitorPort: number, port: number): Promise<void> {
    const at = (name: string): string => join(this.#directory, name)
    const [cluster, store] = [randomUUID(), randomUUID()]
    for (const name of ['run', 'mon', 'osd']) await mkdir(at(name))
    await writeFile(at('keyring'), '')
    await writeFile(at('ceph.conf'), configuration(this.#directory, cluster, monitorPort, port))
    this.endpoint = `http://127.0.0.1:${port}`

    await this.#call('monmaptool', '--create', '--clobber', '--fsid', cluster, '--addv', 'a', `[v1:127.0.0.1:${monitorPort}]`, at('monmap'))
    await this.#call('ceph-mon', '-i', 'a', '--mkfs', '--monmap', at('monmap'))
    const monitor = this.#launch('ceph-mon', '-i', 'a', '-f')
    await this.#while(monitor, this.#call('ceph', '--connect-timeout', '60', 'osd', 'new', store))
    // The disk would put itself in its place, and end when it is refused.
    await this.#call('ceph', 'osd', 'crush', 'add', '0', '1', 'root=default')
    await this.#call('ceph-osd', '-i', '0', '--mkfs', '--osd-uuid', store)
    const disk = this.#launch('ceph-osd', '-i', '0', '-f')
    await this.#while(disk, this.#diskIsUp())
    const user = ['--uid=test', '--display-name=test']
    await this.#call('radosgw-admin', 'user', 'create', ...user, ...keyOptions(this.keys))
    const reader = ['--uid=test', '--subuser=test:reader', '--access=read', '--key-type=s3']
    await this.#call('radosgw-admin', 'subuser', 'create', ...reader, ...keyOptions(this.readOnlyKeys))
    const gateway = this.#launch('radosgw', '-n', 'client.rgw', '-f')
    await this.#while(gateway, this.#gatewayAnswers())
  }

  async createBucket(name: string): Promise<void> {
    await this.#ask('PUT', name)
    // The first object of all makes the server set up its pools, for seconds.
    await this.#ask('PUT', `${name}/first`)
    await this.#ask('DELETE', `${name}/first`)
  }

  async #ask(method: string, path: string): Promise<void> {
    const url = `${this.endpoint}/${path}`
    const { headers } = await new AwsV4Signer({ method, url, service: 's3', region: 'us-east-1', ...this.keys }).sign()
    const { ok, status } = await fetch(url, { method, headers })
    if (!ok) throw new Error(`${method} ${path} was answered ${status}.`)
  }

  freeze(): void {
    const gateway = this.#children.at(-1)
    if (gateway?.pid !== undefined) freezeProcess(gateway.pid)
  }

  thaw(): void {
    this.#children.at(-1)?.kill('SIGCONT')
  }

  async stop(): Promise<void> {
    this.thaw()
    // Nothing of it is kept, so that there is nothing to wait for.
    await Promise.all(this.#children.map((child) => end(child)))
    await rm(this.#directory, { recursive: true, force: true })
  }

  get #environment(): NodeJS.ProcessEnv {
    return { ...process.env, CEPH_CONF: join(this.#directory, 'ceph.conf') }
  }

  async #call(command: string, ...args: string[]): Promise<string> {
    for (let tries = 1; ; tries += 1) {
      try {
        return (await run(command, args, { env: this.#environment, timeout: patienceMs })).stdout
      } catch (error) {
        // Who asks before it has learned which cluster it is in is refused as a stranger.
        if (tries < 20 && /EPERM/.test(String(error))) continue
        throw notInstalled(error) ?? new Error(`${command} failed: ${String(error).slice(0, 2_000)}`)
      }
    }
  }

  #launch(command: string, ...args: string[]): ChildProcess {
    const child = spawn(command, args, { env: this.#environment, stdio: ['ignore', 'ignore', 'pipe'] })
    watch(child)
    this.#children.push(child)
    return child
  }

  /** Waits for what needs a process, and says why when that one ends first. */
  async #while(child: ChildProcess, work: Promise<unknown>): Promise<void> {
    let output = ''
    child.stderr!.on('data', (chunk: Buffer) => (output = (output + chunk.toString()).slice(-2_000)))
    const ended = new Promise<never>((_, reject) => {
      child.once('error', (error) => reject(notInstalled(error) ?? error))
      child.once('exit', () => reject(new Error(`${child.spawnfile} ended instead of starting:\n${output}`)))
    })
    ended.catch(() => {})
    await Promise.race([work, ended])
  }

  async #diskIsUp(): Promise<void> {
    for (const deadline = Date.now() + patienceMs; ; await delay(50)) {
      if (/\b1 up\b/.test(await this.#call('ceph', 'osd', 'stat'))) return
      if (Date.now() > deadline) throw new Error('ceph-osd did not come up.')
    }
  }

  async #gatewayAnswers(): Promise<void> {
    for (const deadline = Date.now() + patienceMs; ; await delay(50)) {
      const answer = await fetch(this.endpoint).catch(() => null)
      await answer?.body?.cancel()
      if (answer !== null) return
      if (Date.now() > deadline) throw new Error('radosgw did not come up.')
    }
  }
}

const keyOptions = ({ accessKeyId, secretAccessKey }: S3Keys): string[] => [
  `--access-key=${accessKeyId}`,
  `--secret-key=${secretAccessKey}`,
]

const configuration = (directory: string, cluster: string, monitorPort: number, port: number): string => `[global]
fsid = ${cluster}
mon host = v1:127.0.0.1:${monitorPort}
mon initial members = a
public network = 127.0.0.0/8
cluster network = 127.0.0.0/8
auth cluster required = none
auth service required = none
auth client required = none
ms bind msgr2 = false
admin socket = ${directory}/run/$name.asok
pid file = ${directory}/run/$name.pid
log file = ${directory}/run/$name.log
crash dir = ${directory}/run
keyring = ${directory}/keyring
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
mon allow pool size one = true
osd crush chooseleaf type = 0
osd class update on start = false
osd crush update on start = false
mon data avail warn = 1
mon data avail crit = 1
paxos propose interval = 0.01
paxos min wait = 0.01
[mon.a]
mon data = ${directory}/mon
mon addr = 127.0.0.1:${monitorPort}
[osd]
osd data = ${directory}/osd
osd objectstore = memstore
memstore device bytes = 1073741824
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:${port} tcp_nodelay=1
rgw rados pool pg num min = 1
rgw thread pool size = 32
`

function notInstalled(error: unknown): Error | null {
  const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT'
  return missing ? new Error(`An S3 server is not installed (Debian: apt-get install ${packages}).`, { cause: error }) : null
}

/** Ends the process with this one, whichever way it ends. */
function watch(child: ChildProcess): void {
  running.add(child)
  child.once('exit', () => running.delete(child))
  child.once('error', () => running.delete(child))
  if (watched) return
  watched = true
  process.once('exit', () => {
    for (const left of running) left.kill('SIGKILL')
  })
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

async function freePort(): Promise<number> {
  const server = createServer()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
