/**
 * Makes the three files of a new module, with their headings: `npm run new -- filter NAME` or
 * `npm run new -- plugin NAME`. Fill them in, then run `npm run modules`.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const [, , kind, name, ...more] = process.argv

const problem = whyNot()
if (problem === undefined) make()
else {
  console.error(`npm run new: ${problem}`)
  process.exitCode = 1
}

function whyNot() {
  if (!['plugin', 'filter'].includes(kind) || name === undefined || more.length > 0)
    return 'expected "plugin NAME" or "filter NAME", as in: npm run new -- filter swab'
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name))
    return `"${name}" cannot name a module: expected lower-case words joined by "-"`
  if (existsSync(folder())) return `${folder()} exists already`
  return undefined
}

function folder() {
  return join(root, 'src', `${kind}s`, name)
}

function make() {
  mkdirSync(folder(), { recursive: true })
  const files = { [`${name}.ts`]: source(), [`${name}.test.ts`]: test(), [`${name}.md`]: page() }
  for (const [file, text] of Object.entries(files)) writeFileSync(join(folder(), file), text)
  console.log(`${folder()} has ${Object.keys(files).join(', ')}: fill them in, then run "npm run modules"`)
}

/** The name in code: `time-limit` becomes `timeLimit`. */
function identifier() {
  return name.replaceAll(/-(.)/g, (_, letter) => letter.toUpperCase())
}

function source() {
  const define = kind === 'plugin' ? 'definePlugin' : 'defineFilter'
  const open =
    kind === 'plugin'
      ? ['    open: () => ({ size: 0, read: (_offset, length, alloc) => alloc(length) }),']
      : [
          '    async open(request, next) {',
          '      const device = await next(request)',
          '      return { ...device }',
          '    },',
        ]
  return [
    `import { ${define} } from '../../api/plugin.js'`,
    '',
    `/** TODO: what it does (nbdkit-${name}-${kind}(1)). */`,
    `export default ${define}({`,
    `  name: '${name}',`,
    "  description: 'TODO: one line, without a full stop',",
    '  params: {},',
    '  setup: () => ({',
    ...open,
    '  }),',
    '})',
    '',
  ].join('\n')
}

function test() {
  const layers = kind === 'plugin' ? `${identifier()}()` : `memory({ size: '1M' }), [${identifier()}()]`
  return [
    "import { test } from 'node:test'",
    ...(kind === 'plugin' ? [] : ["import memory from '../../plugins/memory/memory.js'"]),
    "import { deviceContract, openDevice } from '../../testing/index.js'",
    `import ${identifier()} from './${name}.js'`,
    '',
    `test('${name} meets the contract of a device', async () => {`,
    `  const device = await openDevice(${layers})`,
    '  await deviceContract(device)',
    '  await device.close()',
    '})',
    '',
  ].join('\n')
}

function page() {
  const command = kind === 'plugin' ? `nbdkit-ts ${name}` : `nbdkit-ts --filter=${name} PLUGIN`
  const use = kind === 'plugin' ? `{ plugin: ${identifier()}() }` : `{ plugin, filters: [${identifier()}()] }`
  return [
    `# ${name}`,
    '',
    'TODO: what it does, in one sentence.',
    '',
    '## Synopsis',
    '',
    `    ${command}`,
    '',
    '```ts',
    `import ${identifier()} from 'nbdkit-ts/${kind}s/${name}'`,
    `createServer(${use})`,
    '```',
    '',
    '## Description',
    '',
    '## Parameters',
    '',
    'None.',
    '',
    '## Examples',
    '',
    '## Differences',
    '',
    `None from nbdkit-${name}-${kind}(1).`,
    '',
    '## See also',
    '',
  ].join('\n')
}
