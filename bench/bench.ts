/** The benchmark: `npm run bench -- --help` says what it does. */
import { comparison, isGrossLoss, isLost, ratiosByName, runsToBeSure } from './check.js'
import { cleanUpAtTheEnd } from './children.js'
import { choose, help, type Options, parseOptions } from './command-line.js'
import { Images } from './images.js'
import { machine, sentence } from './machine.js'
import { measure } from './measure.js'
import { installFor } from './programs.js'
import { progress } from './progress.js'
import { type RowResult, ratioOf } from './result.js'
import { readQuick, writeFull, writeQuick } from './results-file.js'
import type { Row } from './row.js'
import { rows } from './rows.js'
import { cellsOf, heading, line, notMeasured } from './table.js'

/** How long the load client runs each time, in seconds. */
const [fullSeconds, quickSeconds] = [0.5, 0.4]

const say = (message: string) => console.log(`# ${message}`)

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2))
  if (options.help) return console.log(help)
  const chosen = choose(rows, options)
  if (options.list) return console.log(chosen.map(({ name }) => name).join('\n'))
  if (process.platform !== 'linux') throw new Error('it reads /proc, which is on Linux only')
  cleanUpAtTheEnd()
  await installFor(chosen, say)
  const where = await machine()
  say(sentence(where))

  const start = performance.now()
  const images = new Images()
  const results = await measureAll(chosen, options, images)
  const kept = { machine: where, pairs: options.pairs, rows: results }
  const isFull = !options.quick && options.words.length === 0
  if (options.quick) await compare(chosen, results, options, images)
  images.removeAll()
  for (const path of isFull ? writeFull(kept, rows) : []) say(`${path} is written`)
  if (options.save) say(`${writeQuick(kept)} is written`)
  say(`${((performance.now() - start) / 1000).toFixed(0)} s`)
  const isComplete = tellTheRest(results)
  // With `--check`, a row that failed once was measured again, three times in all.
  if (!isComplete && !options.check) process.exitCode = 1
}

/** Prints each row as soon as it is measured. */
async function measureAll(chosen: readonly Row[], options: Options, images: Images): Promise<RowResult[]> {
  const nameWidth = Math.max(...chosen.map(({ name }) => name.length))
  console.log(heading(nameWidth))
  const results: RowResult[] = []
  const start = performance.now()
  for (const row of chosen) {
    const result = await measure(row, { ...settings(options), images })
    results.push(result)
    const where = progress(results.length, chosen.length, performance.now() - start)
    console.log(`${line(cellsOf(result), nameWidth)}  ${where}`)
  }
  return results
}

function settings({ pairs, quick }: Options): { pairs: number; seconds: number } {
  return { pairs, seconds: quick ? quickSeconds : fullSeconds }
}

/** Compares with the kept results. With `--check`, measures a row that has lost much again, to be sure. */
async function compare(
  chosen: readonly Row[],
  results: readonly RowResult[],
  options: Options,
  images: Images,
): Promise<void> {
  const before = readQuick()
  if (before === undefined) say('nothing was kept to compare with: --save keeps it')
  const nameWidth = Math.max(...chosen.map(({ name }) => name.length))
  const table = [['Row', 'Ratio then', 'Now', 'Change'], ...comparison(before?.rows ?? [], results)]
  console.log(`\n${table.map(([name = '', ...cells]) => columns(name, cells, nameWidth)).join('\n')}\n`)
  if (!options.check) return
  const then = ratiosByName(before?.rows ?? [])
  const now = ratiosByName(results)
  for (const row of chosen) {
    const old = then.get(row.name)
    // A row that could not be measured counts as a complete loss.
    const ratios = [now.get(row.name) ?? 0]
    if (!isLost(old, ratios[0])) continue
    while (ratios.length < runsToBeSure) {
      const again = await measure(row, { ...settings(options), images })
      ratios.push(ratioOf(again)?.median ?? 0)
    }
    const isGross = isGrossLoss(old, ratios)
    say(`${isGross ? 'LOST' : 'not lost'}: ${row.name}: ${ratios.join(', ')}, and ${old} before`)
    if (isGross) process.exitCode = 1
  }
}

function columns(name: string, cells: readonly string[], nameWidth: number): string {
  return [name.padEnd(nameWidth), ...cells.map((cell) => cell.padStart(11))].join('')
}

/**
 * Reports rows that were not measured, so that they do not pass unnoticed. Returns false where something
 * failed, or everything was skipped.
 */
function tellTheRest(results: readonly RowResult[]): boolean {
  const failed = results.filter((result) => result.failed !== undefined)
  const skipped = results.filter((result) => result.skipped !== undefined)
  for (const result of [...failed, ...skipped]) console.log(`${result.name}: ${notMeasured(result)}`)
  const others = results.flatMap(({ figures }) => Object.entries(figures))
  const othersFailed = others.flatMap(([name, figures]) => reason(name, figures.failed))
  const othersSkipped = others.flatMap(([name, figures]) => reason(name, figures.skipped))
  for (const [what, reasons] of Object.entries({ failed: othersFailed, skipped: othersSkipped }))
    for (const why of new Set(reasons))
      console.log(`${what} ${reasons.filter((each) => each === why).length} times: ${why}`)
  const measured = results.length - failed.length - skipped.length
  const counts = [`${measured} measured`, `${failed.length} failed`, `${skipped.length} skipped`]
  counts.push(`beside nbdkit ${othersFailed.length} failed, ${othersSkipped.length} skipped`)
  console.log(counts.join(', '))
  return failed.length === 0 && othersFailed.length === 0 && measured > 0
}

function reason(name: string, why: string | undefined): string[] {
  return why === undefined ? [] : [`${name}: ${why}`]
}

main().catch((error: Error) => {
  console.error(`bench: ${error.message}`)
  process.exitCode = 1
})
