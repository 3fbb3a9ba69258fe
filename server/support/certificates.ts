import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { onTestFinished } from 'vitest'

const openssl = async (...args: string[]): Promise<void> => {
  await promisify(execFile)('openssl', args)
}

/** Paths of PEM files. */
export interface Certificate {
  readonly cert: string
  readonly key: string
  /** Of who signed it. */
  readonly ca: string
}

/** Makes an authority, and a certificate of it for a host; both go with the test. */
export async function certificateFor(host: string): Promise<Certificate> {
  const directory = await mkdtemp(join(tmpdir(), 'contextd-tls-'))
  onTestFinished(() => rm(directory, { recursive: true, force: true }))
  const file = (name: string): string => join(directory, name)
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  await openssl('req', '-x509', ...newKey, '-days', '1', '-subj', '/CN=test authority', '-keyout', file('ca.key'), '-out', file('ca.pem'))
  await openssl('req', ...newKey, '-subj', `/CN=${host}`, '-keyout', file('server.key'), '-out', file('server.csr'))
  await writeFile(file('names'), `subjectAltName=${/^[\d.]+$/.test(host) ? 'IP' : 'DNS'}:${host}`)
  const signed = ['-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-CAcreateserial', '-extfile', file('names'), '-days', '1']
  await openssl('x509', '-req', '-in', file('server.csr'), ...signed, '-out', file('server.pem'))
  return { cert: file('server.pem'), key: file('server.key'), ca: file('ca.pem') }
}
