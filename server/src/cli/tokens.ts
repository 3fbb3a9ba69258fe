import { ContextdError } from '@contextd/protocol'
import { createRemoteJWKSet, errors, jwtVerify } from 'jose'
import type { JWTPayload, JWTVerifyOptions } from 'jose'
import type { Handshake, User } from '../authorize.ts'

/** How bearer tokens are checked: with a secret, or with published keys. */
export type TokenRules = { readonly issuer?: string; readonly audience?: string } & ({ readonly secret: string } | { readonly jwks: URL })

/** Signatures that are made with a secret, and those that are made with a private key. One kind is never taken for the other. */
const secretAlgorithms = ['HS256', 'HS384', 'HS512']
const keyAlgorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']
/** How far the clocks of the two sides may differ, seconds. */
const clockTolerance = 5

/** Makes the `authenticate` that lets in who has a valid JSON Web Token; its subject (`sub`) is the user's id. */
export function tokenCheck(rules: TokenRules): (handshake: Handshake) => Promise<User | null> {
  const { issuer, audience } = rules
  const options: JWTVerifyOptions = {
    clockTolerance,
    requiredClaims: ['sub'],
    ...(issuer !== undefined && { issuer }),
    ...(audience !== undefined && { audience }),
  }
  const verify = verifier(rules, options)
  return async ({ auth }) => {
    if (typeof auth.token !== 'string') return null
    try {
      return userOf(await verify(auth.token))
    } catch (error) {
      if (isOfToken(error)) return null
      throw new ContextdError('backend_unavailable', 'The keys of the tokens cannot be had now. Try again.', { cause: error })
    }
  }
}

function verifier(rules: TokenRules, options: JWTVerifyOptions): (token: string) => Promise<JWTPayload> {
  if ('secret' in rules) {
    const secret = new TextEncoder().encode(rules.secret)
    return async (token) => (await jwtVerify(token, secret, { ...options, algorithms: secretAlgorithms })).payload
  }
  const keys = createRemoteJWKSet(rules.jwks)
  return async (token) => (await jwtVerify(token, keys, { ...options, algorithms: keyAlgorithms })).payload
}

/** Whether the token is to blame, and not the address of the keys. */
const isOfToken = (error: unknown): boolean =>
  error instanceof errors.JOSEError &&
  !(error instanceof errors.JWKSTimeout) &&
  !(error instanceof errors.JWKSInvalid) &&
  error.code !== 'ERR_JOSE_GENERIC'

function userOf({ sub, exp }: JWTPayload): User | null {
  if (typeof sub !== 'string' || sub === '') return null
  return exp === undefined ? { id: sub } : { id: sub, expiresAt: exp * 1_000 }
}
