/** The results in bench/results and in docs. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { packageRoot } from '../tests/programs.js'
import { chart } from './chart.js'
import { type Machine, sentence } from './machine.js'
import type { RowResult } from './result.js'
import type { Row } from './row.js'
import { markdown } from './table.js'

export interface Results {
  readonly machine: Machine
  readonly pairs: number
  readonly rows: readonly RowResult[]
}

const quickPath = 'bench/results/quick.json'

/** Undefined where no results were kept yet. */
export function readQuick(): Results | undefined {
  const path = join(packageRoot, quickPath)
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Results) : undefined
}

export function writeQuick(results: Results): string {
  return write(quickPath, json(results))
}

/** Returns the paths of the files written. */
export function writeFull(results: Results, rows: readonly Row[]): string[] {
  const page = 'docs/performance.md'
  const text = readFileSync(join(packageRoot, page), 'utf8')
  const picture = '![Ratios of the figures below, as bars](performance.svg)'
  const block = [sentence(results.machine), picture, markdown(results.rows)].join('\n\n')
  return [
    write('bench/results/full.json', json(results)),
    write('docs/performance.svg', chart(results.rows, rows)),
    write(page, fill(text, block)),
  ]
}

const begin = '<!-- made by bench/results-file.ts: begin -->'
const end = '<!-- made by bench/results-file.ts: end -->'

/** Replaces the text between the two comments that mark this program's output. */
export function fill(page: string, block: string): string {
  const [from, to] = [page.indexOf(begin), page.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`the page has no lines "${begin}" and "${end}"`)
  return `${page.slice(0, from)}${begin}\n\n${block}\n\n${page.slice(to)}`
}

function json(results: Results): string {
  return `${JSON.stringify(results, null, 2)}\n`
}

function write(path: string, text: string): string {
  mkdirSync(dirname(join(packageRoot, path)), { recursive: true })
  writeFileSync(join(packageRoot, path), text)
  return path
}
