/**
 * Compiles the sources where needed. npm runs this after `npm ci` and before packing. The first `npx
 * nbdkit-ts` in a checkout also runs it, and hides its output, so a message goes to the terminal.
 */
import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readdirSync, statSync, utimesSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
/** The file that the compiler writes last. */
const result = join(root, 'dist', '.tsbuildinfo')
const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc')

if (!isCurrent()) {
  if (!existsSync(compiler)) {
    console.error('nbdkit-ts is not compiled yet: run "npm ci" first, which also does that')
    process.exit(1)
  }
  tell('nbdkit-ts: compiling, which takes some seconds, once')
  const { status } = spawnSync(process.execPath, [compiler, '-p', root], { stdio: 'inherit' })
  if (status !== 0) process.exit(1)
  await import('./hover.mjs')
  await import('./bundle.mjs')
  // The compiler leaves the file alone where a source was touched but not changed.
  utimesSync(result, new Date(), new Date())
}

/** True where no source or setting is newer than the output. */
function isCurrent() {
  if (!existsSync(result) || !existsSync(join(root, 'dist', 'package', 'cli', 'main.js'))) return false
  const made = statSync(result).mtimeMs
  const folders = ['src', 'tests', 'examples', 'bench'].filter((folder) => existsSync(join(root, folder)))
  const sources = folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter(({ name }) => name.endsWith('.ts'))
      .map(({ name, parentPath }) => join(parentPath, name)),
  )
  return [join(root, 'tsconfig.json'), ...sources].every((path) => statSync(path).mtimeMs <= made)
}

function tell(text) {
  if (process.stdout.isTTY || process.platform === 'win32') return console.log(text)
  try {
    const terminal = openSync('/dev/tty', 'w')
    writeSync(terminal, `${text}\n`)
    closeSync(terminal)
  } catch {
    // There is no terminal, so nobody waits.
  }
}
