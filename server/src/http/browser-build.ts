import { createHash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

/** Where the build puts the client's browser bundle: in a folder of the compiled server, which has a module of that name itself; also for who runs it from its sources. */
const places = ['../browser/contextd.js', '../../dist/browser/contextd.js'].map((place) => fileURLToPath(new URL(place, import.meta.url)))

/** The browser bundle of the client. */
export interface BrowserBuild {
  readonly body: Buffer
  readonly etag: string
}

let cached: { readonly stamp: string; readonly build: BrowserBuild } | null = null

/** Reads the bundle; null: it was not built. It is read again when the file has changed. */
export async function browserBuild(): Promise<BrowserBuild | null> {
  for (const file of places) {
    const found = await stat(file).catch(() => null)
    if (!found?.isFile()) continue
    const stamp = `${file} ${found.mtimeMs} ${found.size}`
    if (cached?.stamp !== stamp) {
      const body = await readFile(file)
      cached = { stamp, build: { body, etag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"` } }
    }
    return cached.build
  }
  return null
}
