/** The plugins of examples/languages, compiled where they have to be, and how each is served. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { needs, type Program } from '../interop/helpers.js'
import { findProgram, packageRoot } from '../programs.js'

const sources = join(packageRoot, 'examples', 'languages')
const directory = mkdtempSync(join(tmpdir(), 'nbdkit-ts-languages-'))
process.once('exit', () => rmSync(directory, { recursive: true, force: true }))

export interface Language {
  readonly name: string
  readonly needs: ReturnType<typeof needs>
  /** Words of the command line. Compiles what has to be, once. */
  words(): readonly string[]
  /** Each client has a disk of its own. */
  readonly ownDisk?: true
}

const source = (name: string) => join(sources, name)

/** Compiles with a command line that ends in the file to write and those to read. */
function compiled(compiler: Program, args: readonly string[], output: string, ...files: string[]) {
  let built: string | undefined
  return () => {
    if (built === undefined) {
      const path = findProgram(compiler)
      assert.ok(path)
      // OCaml writes beside what it reads.
      for (const file of files) copyFileSync(source(file), join(directory, file))
      built = join(directory, output)
      execFileSync(path, [...args, '-o', built, ...files], {
        cwd: directory,
        stdio: ['ignore', 'ignore', 'pipe'],
      })
    }
    return [built]
  }
}

/** What a plugin in C includes: Debian's package nbdkit-plugin-dev. */
const header = '/usr/include/nbdkit-plugin.h'
const native = (...more: Program[]) => {
  const found = needs('nbdsh', 'cc', ...more)
  return found.skip || existsSync(header) ? found : { skip: `${header} is missing` }
}

export const languages: readonly Language[] = [
  { name: 'TypeScript', needs: needs('nbdsh'), words: () => [source('disk.ts')] },
  { name: 'sh', needs: needs('nbdsh'), words: () => ['sh', source('disk.sh')] },
  {
    name: 'Perl, as a coprocess of sh',
    needs: needs('nbdsh', 'perl'),
    words: () => ['sh', source('coprocess.pl'), 'coprocess=true'],
    ownDisk: true,
  },
  { name: 'Python', needs: needs('nbdsh', 'python3'), words: () => ['python', source('disk.py')] },
  {
    name: 'C',
    needs: native(),
    words: compiled('cc', ['-shared', '-fPIC', '-Wall', '-Wextra', '-Werror'], 'disk-c.so', 'disk.c'),
  },
  {
    name: 'Rust',
    needs: native('rustc'),
    words: compiled('rustc', ['--crate-type', 'cdylib'], 'disk-rs.so', 'disk.rs'),
  },
  {
    name: 'OCaml',
    needs: native('ocamlopt'),
    words: compiled(
      'ocamlopt',
      ['-output-obj', '-runtime-variant', '_pic'],
      'disk-ml.so',
      'disk.ml',
      'ocaml-glue.c',
    ),
  },
]
