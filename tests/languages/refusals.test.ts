/** A plugin that cannot be loaded: one line says which, why, and what to do. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { temporary } from '../interop/helpers.js'
import { packageRoot } from '../programs.js'

const program = join(packageRoot, 'bin', 'nbdkit-ts')

interface Refusal {
  readonly name: string
  readonly text: string
  readonly mode?: number
  /** What stands before and behind the file. */
  readonly words?: readonly [before: readonly string[], ...after: string[]]
  readonly message: RegExp
}

const python = 'API_VERSION = 2\n'
const refusals: Readonly<Record<string, Refusal>> = {
  'a shared object that is none': {
    ...{ name: 'text.so', text: 'hello' },
    message:
      /text\.so: file too short: the file is damaged, or for another system: copy or compile it again$/,
  },
  'a script of Python whose first line names no plugin': {
    ...{ name: 'disk.py', text: `#!/usr/bin/env python3\n${python}` },
    message: /disk\.py: its first line names no plugin: try "nbdkit-ts python \S+disk\.py", or begin it with/,
  },
  'a script of Python without a first line': {
    ...{ name: 'disk.py', text: python },
    message: /disk\.py: its first line names no plugin: try "nbdkit-ts python \S+disk\.py"/,
  },
  'a script of the shell whose first line names no plugin': {
    ...{ name: 'disk', text: '#!/bin/sh\n' },
    message: /its first line names no plugin: try "nbdkit-ts sh \S+disk"$/,
  },
  'a script that is not executable': {
    ...{ name: 'disk.sh', text: '#!/bin/sh\n', mode: 0o644, words: [['sh']] },
    message: /disk\.sh" is not executable: make it so with "chmod \+x \S+"$/,
  },
  'a script whose first line names a program that is not there': {
    ...{ name: 'disk.sh', text: '#!/nowhere/sh\n', words: [['sh']] },
    message:
      /the first line of "\S+" names "\/nowhere\/sh", which is not there: install it, or correct the line$/,
  },
  'a script with the line ends of Windows': {
    ...{ name: 'disk.sh', text: '#!/bin/sh\r\n', words: [['sh']] },
    message:
      /ends with a carriage return, and so "\/bin\/sh" is not found: save it with the line ends of Unix$/,
  },
  'an interpreter that is not there': {
    ...{ name: 'disk.py', text: python, words: [['python'], 'python=nopython'] },
    message:
      /disk\.py: it cannot be run: there is no program "nopython" in PATH: install it, or name another$/,
  },
  'an interpreter that is no Python': {
    ...{ name: 'disk.py', text: python, words: [['python'], 'python=/bin/false'] },
    message: /disk\.py: it ended with status 1: is "\/bin\/false" Python 3\.8 or later\?$/,
  },
}

const nothing: NonNullable<Refusal['words']> = [[]]

describe('what cannot be loaded is refused in one line', () => {
  for (const [what, { name, text, mode = 0o755, words = nothing, message }] of Object.entries(refusals))
    it(what, (t) => {
      const file = join(temporary(t), name)
      writeFileSync(file, text, { mode })
      const [before, ...after] = words
      const ended = spawnSync(process.execPath, [program, '-f', '-U', '-', ...before, file, ...after], {
        encoding: 'utf8',
      })
      assert.equal(ended.status, 1, ended.stderr)
      assert.match(ended.stderr, /^nbdkit-ts: [^\n]+\n$/)
      assert.match(ended.stderr.trim(), message)
    })
})
