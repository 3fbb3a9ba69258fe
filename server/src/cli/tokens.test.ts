import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { SignJWT, exportJWK, generateKeyPair } from 'jose'
import { expect, onTestFinished, test } from 'vitest'
import type { Handshake } from '../authorize.ts'
import { tokenCheck } from './tokens.ts'

const secret = 'a secret of more than thirty-two characters'
const key = new TextEncoder().encode(secret)
const shown = (token?: string): Handshake => ({
  auth: token === undefined ? {} : { token },
  headers: {},
  query: {},
  address: '',
  transport: 'http',
})
const signed = (claims = {}, alg = 'HS256'): SignJWT => new SignJWT({ sub: 'ada', ...claims }).setProtectedHeader({ alg })

test('who has a token that was signed with the secret is its subject, until it expires', async () => {
  const check = tokenCheck({ secret })
  const exp = Math.floor(Date.now() / 1_000) + 60
  expect(await check(shown(await signed({ exp }).sign(key)))).toEqual({ id: 'ada', expiresAt: exp * 1_000 })
  expect(await check(shown(await signed({}, 'HS512').sign(key)))).toEqual({ id: 'ada' })
})

test('everybody else is nobody', async () => {
  const check = tokenCheck({ secret, issuer: 'login', audience: 'app' })
  const good = { iss: 'login', aud: 'app' }
  const now = Math.floor(Date.now() / 1_000)
  const unsigned = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from('{"sub":"ada"}').toString('base64url')}.`
  expect(await check(shown(await signed(good).sign(key)))).toEqual({ id: 'ada' })
  for (const token of [
    undefined,
    '',
    'x',
    'a.b.c',
    unsigned,
    await signed(good).sign(new TextEncoder().encode(secret.toUpperCase())),
    await signed({ ...good, exp: now - 60 }).sign(key),
    await signed({ ...good, nbf: now + 60 }).sign(key),
    await signed({ ...good, sub: '' }).sign(key),
    await signed({ ...good, sub: undefined }).sign(key),
    await signed({ ...good, iss: 'other' }).sign(key),
    await signed({ iss: 'login' }).sign(key),
  ]) {
    expect(await check(shown(token))).toBe(null)
  }
})

/** A server that publishes keys, or answers as told. */
async function published(answer: () => { status: number; body: string }): Promise<URL> {
  const http = createServer((_, response) => {
    const { status, body } = answer()
    response.writeHead(status, { 'content-type': 'application/json' }).end(body)
  }).listen(0, '127.0.0.1')
  await once(http, 'listening')
  onTestFinished(() => {
    http.close()
    http.closeAllConnections()
  })
  return new URL(`http://127.0.0.1:${(http.address() as AddressInfo).port}/keys`)
}

test('tokens are checked with published keys, and never with one of them as a secret', async () => {
  const { publicKey, privateKey } = await generateKeyPair('ES256')
  const jwk = { ...(await exportJWK(publicKey)), alg: 'ES256', kid: 'k1' }
  const jwks = await published(() => ({ status: 200, body: JSON.stringify({ keys: [jwk] }) }))
  const check = tokenCheck({ jwks })
  const token = new SignJWT({ sub: 'ada' }).setProtectedHeader({ alg: 'ES256', kid: 'k1' })
  expect(await check(shown(await token.sign(privateKey)))).toEqual({ id: 'ada' })
  const other = await generateKeyPair('ES256')
  expect(await check(shown(await new SignJWT({ sub: 'ada' }).setProtectedHeader({ alg: 'ES256', kid: 'k1' }).sign(other.privateKey)))).toBe(
    null,
  )
  expect(await check(shown(await new SignJWT({ sub: 'ada' }).setProtectedHeader({ alg: 'ES256', kid: 'k2' }).sign(other.privateKey)))).toBe(
    null,
  )
  const asSecret = new TextEncoder().encode(JSON.stringify(jwk))
  expect(await check(shown(await new SignJWT({ sub: 'ada' }).setProtectedHeader({ alg: 'HS256', kid: 'k1' }).sign(asSecret)))).toBe(null)
})

test.each([
  [500, '{}'],
  [200, 'no json'],
  [200, '{"keys":1}'],
])('keys that cannot be had (%d %s) are no reason to send somebody away for good', async (status, body) => {
  const check = tokenCheck({ jwks: await published(() => ({ status, body })) })
  const { privateKey } = await generateKeyPair('ES256')
  const token = await new SignJWT({ sub: 'ada' }).setProtectedHeader({ alg: 'ES256', kid: 'k1' }).sign(privateKey)
  await expect(check(shown(token))).rejects.toMatchObject({ code: 'backend_unavailable' })
})
