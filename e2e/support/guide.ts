import { execFile, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { onTestFinished } from 'vitest'

const main = fileURLToPath(new URL('../../server/dist/cli/main.js', import.meta.url))
const folder = fileURLToPath(new URL('..', import.meta.url))

/** The blocks of one language in a section of a page: up to the next heading of any depth. */
export function blocksOf(page: string, heading: string, language: string): string[] {
  const section = new RegExp(`^##+ ${heading}$(.*?)(?=^##+ |(?![^]))`, 'ms').exec(page)?.[1]
  if (section === undefined) throw new Error(`there is no section ${heading}`)
  return [...section.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(([, block]) => block!)
}

/**
 * Puts ports that nobody listens on in the place of those that a page names. So is the one 10,000 above each, where nodes of a Cluster meet: it is
 * below those that the system gives away to others meanwhile.
 */
export async function portsFor(...named: readonly number[]): Promise<(text: string) => string> {
  const free = new Map<string, number>()
  for (const port of named) {
    let found = 0
    while (found === 0 || [...free.values()].includes(found)) found = await freePort()
    free.set(String(port), found)
  }
  const pattern = new RegExp(`\\b(${named.join('|')})\\b`, 'g')
  return (text) => text.replaceAll(pattern, (port) => String(free.get(port)))
}

/** A port that is free, and the one 10,000 above it too, both below those that the system gives away; 0: none was found. */
async function freePort(): Promise<number> {
  const port = 10_000 + Math.trunc(Math.random() * 12_000)
  return (await isFree(port)) && (await isFree(port + 10_000)) ? port : 0
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  try {
    await once(server.listen(port, '127.0.0.1'), 'listening')
    return true
  } catch {
    return false
  } finally {
    server.close()
  }
}

/** A folder of the test's own. */
export async function ownFolder(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'contextd-guide-'))
  onTestFinished(() => rm(directory, { recursive: true, force: true }))
  return directory
}

/** Starts `redis-server` by a configuration, in a folder of its own or a given one; it ends with the test. */
export async function startByConf(conf: string, { directory = '', args = [] as readonly string[] } = {}): Promise<ChildProcess> {
  const own = directory || (await ownFolder())
  const file = join(own, `redis-${Math.random()}.conf`)
  await writeFile(file, `${conf}\nbind 127.0.0.1\ndir ${own}\n`)
  return await started(
    spawn(process.env['REDIS_SERVER'] || 'redis-server', [file, ...args], { cwd: own }),
    /ready to accept connections|\+monitor master/i,
  )
}

/** Runs a `js` block in a process of its own, and what the test adds to it, until that prints `ready`; it ends with the test. */
export async function startModule(code: string): Promise<ChildProcess> {
  const program = `${code}\nconsole.log('ready')\n`
  return await started(spawn(process.execPath, ['--input-type=module', '--eval', program], { cwd: folder }), /^ready$/m)
}

/** Starts a server by a line for the shell, `npx contextd …`; resolves when it has told its URL. It ends with the test. */
export async function startCommand(line: string): Promise<ChildProcess> {
  const [npx, contextd, ...args] = line.trim().split(' ')
  if (npx !== 'npx' || contextd !== 'contextd') throw new Error(`${line} is no npx contextd`)
  return await started(spawn(process.execPath, [main, ...args], { cwd: folder }), /http:\/\//)
}

/** Runs `sh` blocks; `npx contextd` is what was built. */
export async function runShell(script: string, directory: string): Promise<string> {
  const text = `npx() { shift; '${process.execPath}' '${main}' "$@"; }\nexport -f npx\n${script}`
  return (await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', text], { cwd: directory })).stdout
}

/** Ends a process as an operator does. @returns its exit code */
export async function terminate(child: ChildProcess): Promise<number | null> {
  const exit = once(child, 'exit')
  child.kill('SIGTERM')
  return ((await exit) as [number | null])[0]
}

async function started(child: ChildProcess, ready: RegExp): Promise<ChildProcess> {
  onTestFinished(() => void child.kill('SIGKILL'))
  let output = ''
  await new Promise<void>((resolve, reject) => {
    const read = (chunk: Buffer): void => {
      output += chunk.toString()
      if (ready.test(output)) resolve()
    }
    child.stdout!.on('data', read)
    child.stderr!.on('data', read)
    child.once('error', reject)
    child.once('exit', (code) => reject(new Error(`ended with ${code} before it was ready:\n${output}`)))
  })
  return child
}
