import { copyFile, mkdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'rolldown'

const at = (file) => fileURLToPath(new URL(`../${file}`, import.meta.url))
const output = 'dist/contextd.js'

// One file with everything in it, so that a page needs no build step: <script type="module"> and one import.
await build({
  input: at('src/index.ts'),
  platform: 'browser',
  resolve: { conditionNames: ['@contextd/source', 'browser', 'import', 'default'] },
  output: { file: at(output), format: 'esm', minify: true, sourcemap: true, codeSplitting: false },
})

// The server serves it at /contextd.js, also where this package is not installed.
await mkdir(at('../server/dist'), { recursive: true })
for (const file of [output, `${output}.map`]) await copyFile(at(file), at(`../server/${file}`))
