import { existsSync } from 'node:fs'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'rolldown'
import type { Plugin } from 'rolldown'

/** In one source file, one piece of text is replaced by another. */
export interface Edit {
  /** Path from the root of the workspace. */
  readonly file: string
  /** Occurs exactly once in the file. */
  readonly find: string
  readonly replace: string
}
/** A rule that is switched off. */
export interface Mutation {
  readonly name: string
  readonly edits: readonly Edit[]
}

/** Root of the workspace, from the sources as well as from what was built. */
const root = ((): string => {
  let folder = path.dirname(fileURLToPath(import.meta.url))
  while (!existsSync(path.join(folder, 'pnpm-workspace.yaml'))) folder = path.dirname(folder)
  return folder
})()

/** Replaces while bundling, so that the sources know nothing of it. @throws {Error} a text is not there exactly once */
function mutating({ name, edits }: Mutation, applied: Set<Edit>): Plugin {
  return {
    name: 'mutating',
    async load(id) {
      const here = edits.filter(({ file }) => path.join(root, file) === id)
      if (here.length === 0) return null
      let source = await readFile(id, 'utf8')
      for (const edit of here) {
        const found = source.split(edit.find).length - 1
        if (found !== 1) throw new Error(`mutant "${name}": its text is found ${found} times in ${edit.file}, not once:\n${edit.find}`)
        source = source.replace(edit.find, () => edit.replace)
        applied.add(edit)
      }
      return { code: source, moduleType: 'ts' }
    },
  }
}

/**
 * Bundles the thread that runs seeds and schedules, from source.
 *
 * @param mutation null: as the sources are
 * @returns the file
 */
export async function bundleWorker(mutation: Mutation | null): Promise<string> {
  const folder = path.join(root, 'bench/dist/sim-workers')
  const file = path.join(folder, `${mutation?.name.replaceAll(/[^a-z0-9]+/gi, '-') ?? 'sound'}.mjs`)
  const applied = new Set<Edit>()
  const { output } = await build({
    input: path.join(root, 'bench/src/sim/worker.ts'),
    platform: 'node',
    resolve: { conditionNames: ['@contextd/source', 'node', 'import', 'default'] },
    plugins: mutation ? [mutating(mutation, applied)] : [],
    output: { format: 'esm', codeSplitting: false },
    write: false,
  })
  const idle = mutation?.edits.find((edit) => !applied.has(edit))
  if (idle) throw new Error(`mutant "${mutation?.name}": ${idle.file} is not part of the simulator`)
  // Whoever loads it meanwhile finds the old file or the new one, whole.
  const draft = `${file}.${process.pid}`
  await mkdir(folder, { recursive: true })
  await writeFile(draft, output[0].code)
  await rename(draft, file)
  return file
}
