import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createContexts } from 'contextd'
import { redisAclRules, redisBackend } from 'contextd/backends/redis'
import { sqliteBackend } from 'contextd/backends/sqlite'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { blocksOf, ownFolder, portsFor, runShell, startByConf, startCommand, startModule, terminate } from '../support/guide.ts'
import { until } from '../support/wait.ts'

const page = readFileSync(new URL('../../docs/guides/operations.md', import.meta.url), 'utf8')
const block = (heading: string, language: string, index = 0): string => {
  const found = blocksOf(page, heading, language)[index]
  if (found === undefined) throw new Error(`${heading} has no ${language} ${index}`)
  return found
}

/** What the tests add to a node of the guide: it writes, and says what it reads. */
const tries = `await contexts.set('ops:1', { n: 1 })
console.log(JSON.stringify((await contexts.get('ops:1')).state))`

/** An engine of this process, closed with the test. */
function contextsOn(backend: ReturnType<typeof redisBackend>): ReturnType<typeof createContexts> {
  const contexts = createContexts({ backend })
  onTestFinished(() => contexts.close())
  return contexts
}

/** Writes a context through a node; the status of its answer. */
async function put(url: string, id: string): Promise<number> {
  const headers = { 'content-type': 'application/json' }
  return (await fetch(`${url}/v1/contexts/${id}`, { method: 'PUT', headers, body: '{ "n": 1 }' })).status
}

test('one Redis: its configuration, a node from code and one on the command line, their health, and SIGTERM', async () => {
  const ports = await portsFor(6379, 4000)
  const conf = block('One Redis', 'conf')
  expect(conf).toContain(`user contextd on >secret ${redisAclRules()}\n`)
  await startByConf(ports(conf))
  const node = await startModule(`${ports(block('One Redis', 'js'))}\n${tries}`)
  const directory = await ownFolder()
  const health = ports(block('Health', 'sh'))
  await runShell(health, directory)
  expect(await terminate(node)).toBe(0)
  await expect(runShell(health, directory)).rejects.toThrow('curl')
  const served = await startCommand(ports(block('One Redis', 'sh')))
  await runShell(health, directory)
  expect(await terminate(served)).toBe(0)
})

test('TLS: an authority of one’s own, Redis with its certificate, nodes in code and on the command line', async () => {
  const ports = await portsFor(6380)
  const directory = await ownFolder()
  await runShell(block('TLS', 'sh', 0), directory)
  await startByConf(ports(block('TLS', 'conf')), { directory })
  const [, options] = /`redisBackend\((\{ url: 'rediss.*\})\)`/.exec(page)!
  expect(options).toBe("{ url: 'rediss://127.0.0.1:6380', redisOptions: { tls: { ca: readFileSync('ca.crt') } } }")
  const contexts = contextsOn(
    redisBackend({ url: ports('rediss://127.0.0.1:6380'), redisOptions: { tls: { ca: await readFile(join(directory, 'ca.crt')) } } }),
  )
  await contexts.set('ops:1', { n: 1 })
  expect(await runShell(ports(block('TLS', 'sh', 1)), directory)).toContain('ops:1')
})

test('Sentinel: a master, a replica and three Sentinels; a node goes on when the master dies', async () => {
  const ports = await portsFor(6379, 6378, 26379, 26380, 26381, 4000)
  const master = await startByConf(ports('port 6379\nrepl-diskless-sync-delay 0'))
  await startByConf(ports(`port 6378\n${block('Sentinel', 'conf')}`))
  for (const port of ['26379', '26380', '26381']) {
    await startByConf(ports(block('Sentinel', 'conf', 1).replace('26379', port)), { args: ['--sentinel'] })
  }
  for (const port of ['26379', '26380', '26381']) {
    await until('each Sentinel knows all', async () => {
      const told = await runShell(`redis-cli -p ${ports(port)} sentinel master main`, tmpdir())
      return /num-slaves\n1\n/.test(told) && /num-other-sentinels\n2\n/.test(told)
    })
  }
  await startModule(`${ports(block('Sentinel', 'js'))}\n${tries}`)
  expect(await put(ports('http://127.0.0.1:4000'), 'ops:2')).toBe(201)
  master.kill('SIGKILL')
  await until('a commit is taken again', async () => [200, 201].includes(await put(ports('http://127.0.0.1:4000'), 'ops:3')))
})

test('Cluster: six servers that are joined by redis-cli, and a node', async () => {
  const named = [7000, 7001, 7002, 7003, 7004, 7005]
  const ports = await portsFor(...named, 4000)
  for (const port of named) await startByConf(ports(block('Cluster', 'conf').replace('7000', String(port))))
  const told = await runShell(ports(block('Cluster', 'sh')), tmpdir())
  expect(told).toContain('All 16384 slots covered')
  // The last of them may hear of the others a moment after redis-cli is through.
  for (const port of named) {
    const admin = new Redis(ports(`redis://127.0.0.1:${port}`))
    onTestFinished(() => admin.disconnect())
    await until('the cluster is up', async () => (await admin.cluster('INFO')).includes('cluster_state:ok'))
  }
  await startModule(`${ports(block('Cluster', 'js'))}\n${tries}`)
  for (let n = 0; n < 12; n += 1) expect(await put(ports('http://127.0.0.1:4000'), `ops:c${n}`)).toBe(201)
  expect(await runShell(ports('npx contextd list --store redis://127.0.0.1:7000'), tmpdir())).toContain('ops:c11')
})

test('Backup: exports, a snapshot of Redis and of a file of SQLite are taken in use, and restored', async () => {
  const ports = await portsFor(6379, 6378)
  const directory = await ownFolder()
  await startByConf(ports('port 6379'))
  const contexts = contextsOn(redisBackend(ports('redis://127.0.0.1:6379')))
  const local = contextsOn(sqliteBackend(join(directory, 'contextd.db')))
  for (const one of [contexts, local]) await one.set('ops:1', { n: 1 })
  await runShell(ports(block('Backup', 'sh')), directory)
  const { version, revision, incarnation } = (await contexts.get('ops:1'))!
  const same = { version, incarnation, state: { n: 1 } }

  await startByConf(ports('port 6378\ndbfilename backup.rdb'), { directory })
  const copy = contextsOn(redisBackend(ports('redis://127.0.0.1:6378')))
  expect(await copy.get('ops:1')).toMatchObject({ ...same, revision })
  const file = contextsOn(sqliteBackend(join(directory, 'backup.db')))
  expect(await file.get('ops:1')).toMatchObject({ state: { n: 1 } })
  await contexts.set('ops:1', { n: 2 })
  await runShell(ports('npx contextd restore --store redis://127.0.0.1:6379 --from backup.ndjson'), directory)
  expect(await contexts.get('ops:1')).toMatchObject(same)
})

test('every test and metric that the page names is there', () => {
  const server = readFileSync(new URL('../../docs/guides/server.md', import.meta.url), 'utf8')
  const metrics = page.match(/contextd_[a-z_]+/g)!
  expect(metrics.length).toBeGreaterThan(4)
  expect(metrics.filter((name) => !server.includes(`\`${name}\``))).toEqual([])
})
