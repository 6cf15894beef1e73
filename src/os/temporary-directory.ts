import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { utf8Variable } from './environment.js'

/** An empty directory that only we can read. It is removed when the process ends. */
export interface TemporaryDirectory {
  readonly path: string
  remove(): void
}

/** @throws ConfigError where TMPDIR is not UTF-8. */
export function temporaryDirectory(prefix: string): TemporaryDirectory {
  utf8Variable('TMPDIR')
  const path = mkdtempSync(join(tmpdir(), prefix))
  const remove = () => {
    process.off('exit', remove)
    rmSync(path, { recursive: true, force: true })
  }
  process.once('exit', remove)
  return { path, remove }
}
