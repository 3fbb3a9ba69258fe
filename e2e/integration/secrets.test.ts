import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { startRedisServer } from 'contextd/testing'
import { redisAclRules } from 'contextd/backends/redis'
import { expect, onTestFinished, test } from 'vitest'

const main = fileURLToPath(new URL('../../server/dist/cli/main.js', import.meta.url))

/** What a server prints on a store that it cannot use, and how it ends. */
const serveOn = (store: string): Promise<{ code: number; output: string }> =>
  new Promise((resolve) => {
    execFile(process.execPath, [main, 'serve', '--port', '0', '--store', store], { timeout: 20_000 }, (error, out, err) =>
      resolve({ code: Number(error?.code ?? 0), output: out + err }),
    )
  })

test('F43: a server that Redis refuses ends with one clear line, and no secret is in what it prints', async () => {
  const rules = redisAclRules().replace(' +spublish', '')
  const redis = await startRedisServer({ password: 's3cret-admin', user: { name: 'limited', password: 's3cret-user', rules } })
  onTestFinished(() => redis.stop())
  const host = `127.0.0.1:${redis.port}`
  const cases = [
    [`redis://:s3cret-guess@${host}`, /refuses the user or password/],
    [`redis://limited:s3cret-guess@${host}`, /refuses the user or password/],
    [`redis://${host}`, /asks for a password/],
    [redis.url, /does not allow its user SPUBLISH/],
    [`redis://limited:s3cret-user@127.0.0.1:1`, /cannot be reached/],
  ] as const
  for (const [store, line] of cases) {
    const { code, output } = await serveOn(store)
    expect(code).toBe(1)
    expect(output).toMatch(line)
    expect(output.trimEnd().split('\n')).toHaveLength(1)
    expect(output).not.toMatch(/s3cret/)
  }
})
