import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { chart } from './chart.js'
import type { RowResult } from './result.js'
import { perSecond, type Row } from './row.js'

const client = { program: 'load', args: [] } as const
const row = (name: string, group: string | false): Row => ({
  ...{ name, disk: { args: [] }, client, measures: perSecond, chart: group },
})
const result = (name: string, median: number): RowResult => ({
  ...{ name, ...perSecond },
  figures: { nbdkit: { figure: 1, ratio: { median, min: median * 0.9, max: median * 1.1 } } },
})

const rows = [row('load a', 'load'), row('load b', 'load'), row('b & <c>', 'other'), row('load c', false)]
const svg = chart(
  [result('load a', 2), result('load b', 0.5), result('b & <c>', 4), result('load c', 3)],
  rows,
)

/** The attributes of all elements of a class, as numbers. */
function all(name: string, ...attributes: string[]): number[][] {
  const elements = svg.match(new RegExp(`<[^>]*class="${name}"[^>]*>`, 'g')) ?? []
  return elements.map((element) =>
    attributes.map((attribute) => Number(new RegExp(` ${attribute}="([^"]*)"`).exec(element)?.[1])),
  )
}

describe('the chart', () => {
  test('has a bar for each row that wants one', () => {
    assert.equal(all('faster').length, 2)
    assert.equal(all('slower').length, 1)
  })
  test('begins its bars at 1, and shows twice and half as equally far', () => {
    const [[one = 0] = []] = all('one', 'x1')
    const [[left = 0, slower = 0] = []] = all('slower', 'x', 'width')
    const [[right = 0, faster = 0] = []] = all('faster', 'x', 'width')
    assert.equal(right, one)
    assert.ok(Math.abs(left + slower - one) < 0.2)
    assert.ok(Math.abs(slower - faster) < 0.2)
  })
  test('has headings, and labels without them', () => {
    assert.deepEqual(svg.match(/(?<=<text class="heading"[^>]*>)[^<]*/g), ['load', 'other'])
    assert.match(svg, />a<\/text>/)
  })
  test('is well formed whatever a row is called', () => assert.match(svg, />b &amp; &lt;c><\/text>/))
  test('keeps everything within its frame', () => {
    const xs = [...svg.matchAll(/ x[12]?="([\d.]+)"/g)].map(([, x]) => Number(x))
    assert.ok(xs.every((x) => x >= 0 && x <= 860))
  })
  test('leaves out rows without a ratio', () => {
    const failed: RowResult = { name: 'load a', ...perSecond, figures: {}, failed: 'it burns' }
    assert.doesNotMatch(chart([failed, result('load b', 2)], rows), />a<\/text>/)
  })
})
