/**
 * Shows the text of each parameter where an editor completes `memory({ … })`: puts the `doc` of a parameter
 * above the parameter, in the declarations of plugins and filters that the compiler wrote. Run after the
 * compiler.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const dist = join(dirname(dirname(fileURLToPath(import.meta.url))), 'dist', 'src')
for (const kind of ['plugins', 'filters'].filter((name) => existsSync(join(dist, name))))
  for (const name of readdirSync(join(dist, kind))) {
    const module = join(dist, kind, name, name)
    if (existsSync(`${module}.d.ts`)) await document(`${module}.d.ts`, `${module}.js`)
  }

async function document(path, module) {
  const before = readFileSync(path, 'utf8')
  const { params } = (await import(pathToFileURL(module))).default.definition
  let after = before
  for (const [name, { doc }] of Object.entries(params)) {
    const comment = `/** ${doc.replaceAll('*/', '*\\/')} */`
    // Parameters are set in once; what they are made of, twice.
    const declaration = new RegExp(`^ {4}readonly ${name}: `, 'm')
    if (!after.includes(comment)) after = after.replace(declaration, (found) => `    ${comment}\n${found}`)
  }
  if (after !== before) writeFileSync(path, after)
}
