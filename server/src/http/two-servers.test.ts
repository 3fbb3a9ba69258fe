import { expect, test } from 'vitest'
import { EventReader, asker } from '../../support/http.ts'
import { redisFor } from '../../support/redis-store.ts'
import { served } from '../../support/served.ts'
import { redisBackend } from '../backends/redis/redis.ts'

const authenticate = ({ auth }: { auth: { token?: string } }) => ({ id: auth.token ?? 'nobody' })

test('over two servers on one Redis: commits, deletes, keys and revocations reach everybody', async () => {
  const { server: redis } = await redisFor()
  const start = () => served({ authenticate }, { backend: redisBackend(redis.url) }, { beaconMs: 3_600_000 })
  const [here, there] = await Promise.all([start(), start()])
  const ada = { authorization: 'Bearer ada' }
  const [ask, askThere] = [asker(here.url, ada), asker(there.url, ada)]
  await ask('PUT', 'contexts/a', { body: { n: 0 } })
  const stream = await EventReader.open(`${there.url}/v1/contexts/a/events`, ada)
  expect(await stream.next()).toMatchObject({ data: { type: 'full_context', context: { version: 1 } } })

  const increment = { body: { operations: [{ type: 'increment', path: ['n'], by: 1 }] }, headers: { 'idempotency-key': 'k' } }
  const answers = await Promise.all([ask, askThere, ask, askThere].map((each) => each('PATCH', 'contexts/a', increment)))
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200])
  expect(await stream.next()).toMatchObject({ data: { type: 'delta', delta: { version: 2, author: { userId: 'ada', actor: 'http' } } } })
  expect((await askThere('GET', 'contexts/a')).body).toMatchObject({ version: 2, state: { n: 1 } })

  await here.server.revoke('ada', 'a')
  expect(await stream.next()).toHaveProperty('retry')
  const again = await EventReader.open(`${there.url}/v1/contexts/a/events`, ada)
  await again.next()
  await ask('DELETE', 'contexts/a')
  expect(await again.next()).toMatchObject({ event: 'error', data: { code: 'not_found' } })
})
