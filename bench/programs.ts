/** Programs of others: where they are, and how to install them. */
import { findProgram, packageRoot } from '../tests/programs.js'
import { type Contender, contendersOf, type Row } from './row.js'

/** The Debian package of each program. */
const packages = {
  nbdkit: 'nbdkit',
  fio: 'fio',
  nbdcopy: 'libnbd-bin',
  nbdinfo: 'libnbd-bin',
  'qemu-nbd': 'qemu-utils',
  'nbd-server': 'nbd-server',
} as const
export type Program = keyof typeof packages

/** @throws Error that says what to install. */
export function pathOf(name: Program): string {
  const path = findProgram(name)
  if (path === undefined) throw new Error(missing(name))
  return path
}

export function missing(name: Program): string {
  return `${name} is missing (Debian package ${packages[name]})`
}

/** The program of a contender, unless it is ours. */
export function programOf(contender: Contender): Program | undefined {
  return isProgram(contender) ? contender : undefined
}

function isProgram(name: string): name is Program {
  return Object.hasOwn(packages, name)
}

/** The programs that a row needs. */
export function neededBy(row: Row): Program[] {
  return [row.client.program, 'nbdkit'].filter(isProgram)
}

/** Installs missing programs for these rows where permitted, and reports what it does. */
export async function installFor(rows: readonly Row[], say: (message: string) => void): Promise<void> {
  const all = rows.flatMap((row) => [...neededBy(row), ...contendersOf(row)]).filter(isProgram)
  const wanted: Record<string, string[]> = {}
  for (const name of new Set(all)) {
    const list = wanted[packages[name]] ?? []
    wanted[packages[name]] = [...list, name]
  }
  // This is not TypeScript, because `npm test` uses it before anything is compiled.
  const script = new URL('scripts/clients.mjs', `file://${packageRoot}/`).href
  const { installPackages } = (await import(script)) as {
    installPackages(wanted: object, without: string, say: (message: string) => void): void
  }
  try {
    installPackages(wanted, 'Rows that need them are skipped.', say)
  } catch (error) {
    say((error as Error).message)
  }
}
