/** A newcomer's project: what `npm pack` gives, installed beside the newcomer's own files. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after } from 'node:test'
import { packageRoot } from '../programs.js'

const scratch = mkdtempSync(join(tmpdir(), 'first-hour-'))
after(() => rmSync(scratch, { recursive: true }))

/** The package as it is published, unpacked, without its manual pages, which are made by themselves. */
export const unpacked = unpack()

function unpack(): string {
  const npm = spawnSync('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', scratch], {
    cwd: packageRoot,
    encoding: 'utf8',
  })
  if (npm.status !== 0) throw new Error(`npm pack: ${npm.stderr}`)
  const [tarball = ''] = readdirSync(scratch).filter((name) => name.endsWith('.tgz'))
  const tar = spawnSync('tar', ['xzf', join(scratch, tarball), '-C', scratch], { encoding: 'utf8' })
  if (tar.status !== 0) throw new Error(`tar: ${tar.stderr}`)
  return join(scratch, 'package')
}

let projects = 0

/**
 * A folder as `npm init -y` and `npm install nbdkit-ts` leave it.
 *
 * @param type what package.json says; `npm init -y` writes commonjs.
 * @param packages of our own node_modules that the newcomer has installed too.
 */
export function newProject(
  type: 'commonjs' | 'module',
  files: Record<string, string>,
  packages: string[] = [],
) {
  const directory = join(scratch, `project-${projects++}`)
  const modules = join(directory, 'node_modules')
  mkdirSync(modules, { recursive: true })
  cpSync(unpacked, join(modules, 'nbdkit-ts'), { recursive: true, filter: isRun })
  for (const name of packages) {
    mkdirSync(dirname(join(modules, name)), { recursive: true })
    symlinkSync(join(packageRoot, 'node_modules', name), join(modules, name))
  }
  const manifest = { name: 'mine', version: '1.0.0', type }
  for (const [name, text] of Object.entries({ 'package.json': JSON.stringify(manifest), ...files })) {
    mkdirSync(dirname(join(directory, name)), { recursive: true })
    writeFileSync(join(directory, name), text)
  }
  return directory
}

/** Sources and pages are for readers. */
const isRun = (path: string) => path.includes('/dist/') || !/\.(ts|md|1)$/.test(path)

/**
 * The Node that runs the tests, and those that CI installs in ci/, one for each version. Where it is one of
 * them itself, it is alone: the others were tried by the machine's own.
 */
export const nodes = [process.execPath, ...nodesOfCi()]
  .map((path) => ({ path, version: spawnSync(path, ['--version'], { encoding: 'utf8' }).stdout.trim() }))
  .filter(({ version }, at, all) => all.findIndex((other) => other.version === version) === at)

function nodesOfCi(): string[] {
  const modules = join(packageRoot, 'ci', 'node_modules')
  if (!existsSync(modules) || process.execPath.startsWith(modules)) return []
  return readdirSync(modules)
    .map((name) => join(modules, name, 'bin', 'node'))
    .filter((path) => existsSync(path))
}

/** By itself, without a flag. */
export function runsTypeScript(version: string): boolean {
  const [major = 0, minor = 0] = version.slice(1).split('.').map(Number)
  return major > 22 || (major === 22 && minor >= 18)
}

export async function run(command: string, args: readonly string[], cwd: string) {
  const child = spawn(command, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (chunk) => (stdout += chunk))
  child.stderr.on('data', (chunk) => (stderr += chunk))
  const [status] = (await once(child, 'close')) as [number | null]
  return { status, stdout, stderr }
}

/** Runs the installed program until a client has ended. This one only tells the URI. */
export function serve(node: string, project: string, words: readonly string[], client = 'echo "$uri"') {
  const program = join(project, 'node_modules', 'nbdkit-ts', 'bin', 'nbdkit-ts')
  return run(node, [program, '-U', '-', ...words, '--run', client], project)
}

/** The blocks of one language in a page of the package, in order. */
export function examplesOf(text: string, language = 'ts'): string[] {
  return [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)]
    .filter(([, found]) => found === language)
    .map(([, , code = '']) => code)
}
