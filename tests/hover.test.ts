/** What an editor shows of built-in modules: TypeScript's own language service is asked. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import ts from 'typescript'
import { filters } from '../src/filters/catalog.js'
import type { FilterDefinition, PluginDefinition } from '../src/index.js'
import { plugins } from '../src/plugins/catalog.js'
import { packageRoot } from './programs.js'

interface Module {
  readonly name: string
  /** A source that calls the module with each of its parameters, and where it stands. */
  readonly file: string
  readonly source: string
  readonly docs: ReadonlyMap<string, string>
}

const modules: readonly Module[] = await Promise.all(
  Object.entries({ plugins, filters }).flatMap(([kind, catalog]) =>
    Object.entries(catalog).map(async ([name, load]) => {
      const { definition } = (await load()).default as { definition: PluginDefinition | FilterDefinition }
      const docs = new Map(Object.entries(definition.params).map(([key, { doc }]) => [key, doc]))
      const inputs = [...docs.keys()].map((key) => `/* here */ ${key}: ''`)
      return {
        name: `${kind}/${name}`,
        file: join(packageRoot, 'dist', 'tests', `hover-${kind}-${name}.ts`),
        source: `import it from '../src/${kind}/${name}/${name}.js'\nit({ ${inputs.join(', ')} })`,
        docs,
      }
    }),
  ),
)

const { sys } = ts
const service = ts.createLanguageService({
  getScriptFileNames: () => modules.map(({ file }) => file),
  getScriptVersion: () => '1',
  getScriptSnapshot: (path) => {
    const text = modules.find(({ file }) => file === path)?.source ?? sys.readFile(path)
    return text === undefined ? undefined : ts.ScriptSnapshot.fromString(text)
  },
  getCurrentDirectory: () => packageRoot,
  getCompilationSettings: () => ({ module: ts.ModuleKind.NodeNext, strict: true, types: [] }),
  getDefaultLibFileName: ts.getDefaultLibFilePath,
  fileExists: sys.fileExists,
  readFile: sys.readFile,
  directoryExists: sys.directoryExists,
  getDirectories: sys.getDirectories,
})

/** What the editor shows over each parameter, in order. */
function shown({ file, source }: Module): string[] {
  return [...source.matchAll(/\/\* here \*\/ /g)].map(({ index, 0: { length } }) =>
    ts.displayPartsToString(service.getQuickInfoAtPosition(file, index + length)?.documentation),
  )
}

describe('an editor shows the text of each parameter', () => {
  // The parameters of eval are the methods of a script, one for each, which no declaration lists.
  for (const module of modules.filter(({ name }) => name !== 'plugins/eval'))
    it(`of ${module.name}`, () => assert.deepEqual(shown(module), [...module.docs.values()]))
})
