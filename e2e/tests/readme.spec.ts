import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import type { Server as HttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@playwright/test'
import type { BrowserContext } from '@playwright/test'
import { createContexts, createServer } from 'contextd'
import type { Contexts, Server } from 'contextd'
import { build } from 'vite'

const root = fileURLToPath(new URL('../..', import.meta.url))
const readme = readFileSync(path.join(root, 'README.md'), 'utf8')
/** The first code block of a language, as printed. */
function example(language: string): string {
  const block = new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\``, 'm').exec(readme)
  if (!block) throw new Error(`README.md has no ${language} block`)
  return block[1]!
}

let contexts: Contexts
let server: Server
let http: HttpServer
const pages = new Map<string, { type: string; text: string }>()
test.beforeEach(async () => {
  contexts = createContexts()
  server = createServer({ contexts })
  http = createHttpServer((request, response) => {
    const page = pages.get(request.url ?? '')
    if (page) response.writeHead(200, { 'content-type': page.type }).end(page.text)
  })
  server.attach(http)
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
})
test.afterEach(async () => {
  await server.close()
  await contexts.close()
  http.close()
})

/** Opens a page in two tabs, votes in both, and sees each other's votes. */
async function expectVotesShared(context: BrowserContext, address: string): Promise<void> {
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}${address}`
  const [first, second] = [await context.newPage(), await context.newPage()]
  await first.goto(url)
  await second.goto(url)
  await expect(first.getByRole('button')).toHaveText('0 votes')
  await first.getByRole('button').click()
  await expect(second.getByRole('button')).toHaveText('1 votes')
  await second.getByRole('button').click()
  await expect(first.getByRole('button')).toHaveText('2 votes')
}

test('the React example of the README runs as printed, in at most 15 lines', async ({ context }) => {
  const code = example('tsx')
  expect(code.trim().split('\n').length).toBeLessThanOrEqual(15)
  // Inside the board example, so that the packages it imports are found as an application finds them.
  const directory = mkdtempSync(path.join(root, 'examples/board/dist-readme-'))
  try {
    writeFileSync(path.join(directory, 'main.tsx'), code)
    const output = await build({
      root: directory,
      logLevel: 'error',
      configFile: false,
      esbuild: false,
      build: { write: false, rollupOptions: { input: path.join(directory, 'main.tsx') } },
    })
    const chunks = (Array.isArray(output) ? output : [output]).flatMap((bundle) => ('output' in bundle ? bundle.output : []))
    const chunk = chunks.find((part) => part.type === 'chunk')
    pages.set('/main.js', { type: 'text/javascript', text: chunk?.type === 'chunk' ? chunk.code : '' })
    pages.set('/react', { type: 'text/html', text: '<!doctype html><div id="root"></div><script type="module" src="/main.js"></script>' })
    await expectVotesShared(context, '/react')
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})

test('the example without a build step runs as printed, in at most 10 lines', async ({ context }) => {
  const page = example('html')
  expect(page.trim().split('\n').length).toBeLessThanOrEqual(10)
  pages.set('/vanilla', { type: 'text/html', text: `<!doctype html>${page}` })
  await expectVotesShared(context, '/vanilla')
})
