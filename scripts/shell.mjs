import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))

// The package manager is not on PATH, so tools are found where the install puts them.
const tools = [path.join(root, 'node_modules/.bin'), path.join(root, 'e2e/node_modules/.bin')]
const env = { ...process.env, PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD: '1', PATH: [...tools, process.env.PATH].join(path.delimiter) }

/** Runs one command at the root of the workspace, its output going straight to the terminal. Returns whether it ended with exit code 0. */
export function run(command, args, extraEnv = {}) {
  console.log(`\n> ${[command, ...args].join(' ')}`)
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', env: { ...env, ...extraEnv } })
  if (error) console.error(`${command} did not start: ${error.message}`)
  return status === 0
}

/** Whether a command can be found on PATH. */
export function has(command) {
  return spawnSync('sh', ['-c', 'command -v "$1"', 'sh', command], { stdio: 'ignore' }).status === 0
}
