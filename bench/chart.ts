/**
 * Draws ratios as bars in SVG: from 1 to the median, on a logarithmic scale where twice and half are equally
 * far.
 */
import { type RowResult, ratioOf } from './result.js'
import type { Row } from './row.js'
import type { Spread } from './statistics.js'
import { plain } from './table.js'

const width = 860
const plot = { left: 300, right: 770 }
const top = 84
const barHeight = 20
const headingHeight = 36

/** Colours for light and dark. Viewers without CSS show the light ones. */
const style = `
  text { font: 12px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1f2328 }
  .title { font-size: 17px; font-weight: 600 }
  .heading { font-size: 13px; font-weight: 600 }
  .quiet { fill: #59636e }
  .value { font-variant-numeric: tabular-nums }
  .paper { fill: #ffffff; stroke: #d1d9e0 }
  .grid { stroke: #e4e8ec }
  .one { stroke: #59636e; stroke-width: 1.5 }
  .faster { fill: #2f81b7 }
  .slower { fill: #d9822b }
  .range { stroke: #1f2328; stroke-opacity: 0.65; fill: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .quiet { fill: #9198a1 }
    .paper { fill: #0d1117; stroke: #3d444d }
    .grid { stroke: #262c34 }
    .one { stroke: #9198a1 }
    .faster { fill: #4d9fd6 }
    .slower { fill: #e39a4a }
    .range { stroke: #e6edf3 }
  }`

interface Bar {
  readonly group: string
  readonly label: string
  readonly ratio: Spread
}

export function chart(results: readonly RowResult[], rows: readonly Row[]): string {
  const bars = rows.flatMap((row) => barsOf(row, results))
  const groups = [...new Set(bars.map(({ group }) => group))]
  const x = scaleOver(bars)
  let y = top
  const drawn = groups.map((group) => {
    const heading = `<text class="heading" x="24" y="${y + 22}">${escapeText(group)}</text>`
    y += headingHeight
    const some = bars
      .filter((bar) => bar.group === group)
      .map((bar, at) => drawBar(bar, y + at * barHeight, x))
    y += some.length * barHeight
    return [heading, ...some].join('\n')
  })
  const height = y + 24
  const subtitle =
    'Median of the ratios of pairs of runs, right of 1 is better than nbdkit; the thin line is their range'
  const size = `viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"`
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img">
<title>nbdkit-ts compared with nbdkit</title>
<style>${style}
</style>
<rect class="paper" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8"/>
<text class="title" x="24" y="34">nbdkit-ts compared with nbdkit</text>
<text class="quiet" x="24" y="54">${subtitle}</text>
${ticksOver(bars)
  .map((tick) => drawTick(tick, x(tick), y + 4))
  .join('\n')}
${drawn.join('\n')}
</svg>
`
}

function barsOf(row: Row, results: readonly RowResult[]): Bar[] {
  const result = results.find(({ name }) => name === row.name)
  const ratio = result && ratioOf(result)
  if (!row.chart || ratio === undefined) return []
  const group = row.chart
  return [
    { group, label: row.name.startsWith(`${group} `) ? row.name.slice(group.length + 1) : row.name, ratio },
  ]
}

const ticks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]

/** The ticks within the drawn range, and one more at each end. */
function ticksOver(bars: readonly Bar[]): number[] {
  const least = Math.min(0.5, ...bars.map(({ ratio }) => ratio.min))
  const most = Math.max(2, ...bars.map(({ ratio }) => ratio.max))
  const first = ticks.findLastIndex((tick) => tick <= least)
  const last = ticks.findIndex((tick) => tick >= most)
  return ticks.slice(Math.max(first, 0), last < 0 ? undefined : last + 1)
}

type Scale = (ratio: number) => number

function scaleOver(bars: readonly Bar[]): Scale {
  const shown = ticksOver(bars)
  const [low, high] = [Math.log(shown[0] ?? 0.5), Math.log(shown.at(-1) ?? 2)]
  return (ratio) => {
    const part = (Math.log(ratio) - low) / (high - low)
    return tenth(plot.left + Math.min(Math.max(part, 0), 1) * (plot.right - plot.left))
  }
}

function drawTick(tick: number, x: number, bottom: number): string {
  return `<line class="${tick === 1 ? 'one' : 'grid'}" x1="${x}" x2="${x}" y1="${top + 6}" y2="${bottom}"/>
<text class="quiet" x="${x}" y="${top}" text-anchor="middle">${tick}</text>`
}

function drawBar({ label, ratio }: Bar, y: number, x: Scale): string {
  const [one, median, min, max] = [x(1), x(ratio.median), x(ratio.min), x(ratio.max)]
  const middle = y + barHeight / 2
  const colour = ratio.median >= 1 ? 'faster' : 'slower'
  const whisker = `M${min} ${middle - 3}v6M${min} ${middle}H${max}M${max} ${middle - 3}v6`
  return [
    `<text x="${plot.left - 16}" y="${middle + 4}" text-anchor="end">${escapeText(label)}</text>`,
    `<rect class="${colour}" x="${Math.min(one, median)}" y="${y + 3}" width="${tenth(Math.abs(median - one))}" height="${barHeight - 6}" rx="2"/>`,
    `<path class="range" d="${whisker}"/>`,
    `<text class="value" x="${width - 24}" y="${middle + 4}" text-anchor="end">${plain(ratio.median)}</text>`,
  ].join('\n')
}

function tenth(value: number): number {
  return Math.round(value * 10) / 10
}

function escapeText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
