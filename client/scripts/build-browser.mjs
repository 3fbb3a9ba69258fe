import { copyFile, mkdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'rolldown'

const at = (file) => fileURLToPath(new URL(`../${file}`, import.meta.url))

// One file with everything in it, so that a page needs no build step: <script type="module"> and one import.
await build({
  input: at('src/index.ts'),
  platform: 'browser',
  resolve: { conditionNames: ['@contextd/source', 'browser', 'import', 'default'] },
  output: { file: at('dist/contextd.js'), format: 'esm', minify: true, sourcemap: true, codeSplitting: false },
})

// The server serves it at /contextd.js, also where this package is not installed.
await mkdir(at('../server/dist/browser'), { recursive: true })
for (const file of ['contextd.js', 'contextd.js.map']) await copyFile(at(`dist/${file}`), at(`../server/dist/browser/${file}`))
