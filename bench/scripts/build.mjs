import { existsSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'rolldown'

const at = (file) => fileURLToPath(new URL(`../${file}`, import.meta.url))
const entries = Object.fromEntries(['sim', 'bench'].map((name) => [name, at(`src/${name}/main.ts`)]).filter(([, file]) => existsSync(file)))
const workspacePackage = /^(contextd|@contextd\/[^/]+)(\/|$)/

// The oldest supported Node runs no TypeScript: our own code is bundled from source, everything else stays in node_modules.
if (Object.keys(entries).length > 0) {
  await build({
    input: entries,
    platform: 'node',
    external: (id) => !id.startsWith('.') && !path.isAbsolute(id) && !workspacePackage.test(id),
    resolve: { conditionNames: ['@contextd/source', 'node', 'import', 'default'] },
    output: { dir: at('dist'), format: 'esm', sourcemap: true },
  })
}
