/**
 * Results as text: lines for the terminal, each printed as soon as its row is measured, and tables for a
 * page.
 */
import { type RowResult, ratioOf } from './result.js'
import type { Contender } from './row.js'
import type { Spread } from './statistics.js'

const columns = ['Row', 'Ratio (range)', 'Ours, nbdkit', 'CPU µs', 'Memory MiB (peak)', 'Ratio to others']

/** The cells of a row. A row without figures has one more cell, which says why. */
export function cellsOf(result: RowResult): string[] {
  const { name, figures, unit } = result
  const why = notMeasured(result)
  const both = [figures.ours, figures.nbdkit]
  if (why !== undefined && figures.ours === undefined) return [name, why]
  const ratio = ratioOf(result)
  return [
    why === undefined ? name : `${name}, ${why}`,
    ratio ? spread(ratio) : '',
    `${pair(both.map((each) => each?.figure))} ${unit}`,
    pair(both.map((each) => each?.cpuUsPerRequest)),
    both.flatMap((each) => memory(each?.residentMiB, each?.peakMiB)).join(', '),
    others(result).join(', '),
  ]
}

/** What is wrong with a row; undefined where nothing is. */
export function notMeasured({ failed, skipped }: RowResult): string | undefined {
  if (failed !== undefined) return `failed: ${failed}`
  return skipped === undefined ? undefined : `skipped: ${skipped}`
}

function others({ figures }: RowResult): string[] {
  return Object.entries(figures).flatMap(([name, { ratio, failed }]) => {
    if (isOfMain(name)) return []
    return [`${name} ${ratio ? plain(ratio.median) : failed === undefined ? 'skipped' : 'failed'}`]
  })
}

function isOfMain(name: string): boolean {
  const main: readonly Contender[] = ['ours', 'nbdkit']
  return main.some((each) => each === name)
}

/** Formats `1.50 (1.20 to 1.90)`. */
function spread({ median, min, max }: Spread): string {
  return `${plain(median)} (${plain(min)} to ${plain(max)})`
}

function pair(values: readonly (number | undefined)[]): string {
  const known = values.filter((value) => value !== undefined)
  return known.map(plain).join(', ')
}

function memory(resident: number | undefined, peak: number | undefined): string[] {
  return resident === undefined || peak === undefined ? [] : [`${resident.toFixed(0)} (${peak.toFixed(0)})`]
}

/** Three digits, with thousands as k. */
export function plain(value: number): string {
  if (value >= 10_000) return `${(value / 1000).toFixed(0)}k`
  if (value >= 100) return value.toFixed(0)
  return value >= 10 ? value.toFixed(1) : value.toFixed(2)
}

/** A line with aligned columns, for names up to `nameWidth`. */
export function line(cells: readonly string[], nameWidth: number): string {
  const widths = [nameWidth, 20, 26, 12, 24]
  return cells
    .map((cell, at) => cell.padEnd(widths[at] ?? 0))
    .join('  ')
    .trimEnd()
}

export function heading(nameWidth: number): string {
  return line(columns, nameWidth)
}

/** A table for each client, which is the first word of a row's name. */
export function markdown(results: readonly RowResult[]): string {
  const clients = ['fio', 'nbdcopy', 'load']
  const groups = [...clients, 'other'].map((title) => ({
    title,
    rows: results.filter(
      ({ name }) => (clients.find((client) => name.startsWith(`${client} `)) ?? 'other') === title,
    ),
  }))
  return groups
    .filter(({ rows }) => rows.length > 0)
    .map(({ title, rows }) => `### ${title}\n\n${markdownTable([columns, ...rows.map(cellsOf)])}`)
    .join('\n\n')
}

/** Columns are as wide as their widest cell, as in the other pages. Short rows get empty cells. */
export function markdownTable(table: readonly (readonly string[])[]): string {
  const [header = [], ...rows] = table.map((cells) => cells.map((cell) => cell.replaceAll('|', '\\|')))
  const widths = header.map((title, at) =>
    Math.max(title.length, ...rows.map((cells) => cells[at]?.length ?? 0)),
  )
  const row = (cells: readonly string[], fillWith = ' ') =>
    `| ${widths.map((width, at) => (cells[at] ?? '').padEnd(width, fillWith)).join(' | ')} |`
  return [row(header), row([], '-'), ...rows.map((cells) => row(cells))].join('\n')
}
