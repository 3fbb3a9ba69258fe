import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { describe, expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const packages = ['protocol', 'server', 'client', 'react']

async function packed(folder: string, check: (tarball: Buffer) => Promise<void>): Promise<void> {
  const to = await mkdtemp(join(tmpdir(), 'contextd-pack-'))
  try {
    await promisify(execFile)('npm', ['pack', '--ignore-scripts', '--pack-destination', to], { cwd: join(root, folder) })
    const [file] = await readdir(to)
    await check(await readFile(join(to, file!)))
  } finally {
    await rm(to, { recursive: true })
  }
}

describe.each(packages)('the package in %s', (folder) => {
  test('says where its files are as publint wants it', async () => {
    const { messages, pkg } = await publint({ pkgDir: join(root, folder), pack: 'npm', strict: true })
    expect(messages.map((message) => formatMessage(message, pkg))).toEqual([])
  })

  test('has types that every way of finding modules finds, but for require() of it', async () => {
    await packed(folder, async (tarball) => {
      const result = await checkPackage(createPackageFromTarballData(tarball))
      if (!result.types) throw new Error('no types are packed')
      // Source entries are for this workspace only; CommonJS loads ES modules with import().
      const wrong = result.problems.filter(
        (problem) =>
          problem.kind !== 'CJSResolvesToESM' &&
          !('entrypoint' in problem && (problem.entrypoint === './cores' || problem.resolutionKind === 'node10')),
      )
      expect(wrong).toEqual([])
    })
  })
})

test('the client for pages without a build step is no larger than its budget', async () => {
  const bundle = await readFile(join(root, 'server/dist/browser/contextd.js'))
  // 13.2 kB of it are socket.io-client.
  expect(gzipSync(bundle, { level: 9 }).byteLength).toBeLessThan(40_000)
})
