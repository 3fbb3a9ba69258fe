import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'rolldown'

const at = (file) => fileURLToPath(new URL(`../${file}`, import.meta.url))
const isPackage = (id) => !id.startsWith('.') && !path.isAbsolute(id)
const isOurs = (id) => /^(contextd|@contextd\/[^/]+)(\/|$)/.test(id)

/** The oldest supported Node runs no TypeScript, so each program becomes one file; packages that are `external` stay where they are. */
const bundle = (name, external) =>
  build({
    input: { [name]: at(`src/${name}/main.ts`) },
    platform: 'node',
    external,
    resolve: { conditionNames: ['@contextd/source', 'node', 'import', 'default'] },
    output: { dir: at('dist'), format: 'esm', sourcemap: true },
  })

// The simulator takes in the sources of the cores, whose entries are for the workspace only; the benchmarks measure what is shipped.
await bundle('sim', (id) => isPackage(id) && !isOurs(id))
await bundle('bench', isPackage)
