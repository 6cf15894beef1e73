/** The command line of the benchmark. */
import { parseArgs } from 'node:util'
import { parseInteger } from '../src/api/parse.js'
import { programOf } from './programs.js'
import type { Row } from './row.js'

export const help = `npm run bench -- [options] [WORD...]

Serves the same disks with nbdkit and with nbdkit-ts, drives both in turn with the same clients, and prints
how much faster ours is: above 1 is better for us, also where less is better. With words, only the rows with
one of them in their name.

Without words it takes about 25 minutes, and writes bench/results/full.json, docs/performance.svg, and the
figures in docs/performance.md.

  --quick      few rows, each a short time, compared with bench/results/quick.json: about a minute
  --save       with --quick: write bench/results/quick.json
  --check      with --quick: end with status 1 when a row has lost more than half of its ratio, three times
  --pairs=N    runs of each server, 5 unless given, with --quick 3
  --list       print the rows
  --help       print this`

export interface Options {
  readonly words: readonly string[]
  readonly quick: boolean
  readonly save: boolean
  readonly check: boolean
  readonly pairs: number
  readonly list: boolean
  readonly help: boolean
}

/** @throws Error whose message is for the user. */
export function parseOptions(args: readonly string[]): Options {
  const flag = { type: 'boolean', default: false } as const
  const options = {
    quick: flag,
    save: flag,
    check: flag,
    list: flag,
    help: flag,
    pairs: { type: 'string' },
  } as const
  const { values, positionals: words } = parseArgs({ args: [...args], options, allowPositionals: true })
  const { quick = false, save = false, check = false, list = false, help = false } = values
  if ((save || check) && !quick) throw new Error('--save and --check go with --quick')
  if (save && words.length > 0) throw new Error('--save keeps all rows: it takes no words')
  const pairs = values.pairs === undefined ? (quick ? 3 : 5) : parseInteger(values.pairs, 1, 1000)
  return { words, quick, save, check, pairs, list, help }
}

/** @throws Error for a word that no name contains. */
export function choose(rows: readonly Row[], { words, quick }: Options): readonly Row[] {
  const all = quick ? rows.filter((row) => row.quick).map(withNbdkitOnly) : rows
  for (const word of words)
    if (!all.some(({ name }) => name.includes(word)))
      throw new Error(`no row has "${word}" in its name: --list prints all names`)
  return words.length === 0 ? all : all.filter(({ name }) => words.some((word) => name.includes(word)))
}

/** Drops other servers from a row: there is no time for them. */
function withNbdkitOnly(row: Row): Row {
  return { ...row, others: (row.others ?? []).filter((other) => programOf(other) === undefined) }
}
