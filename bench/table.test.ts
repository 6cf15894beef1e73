import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { RowResult } from './result.js'
import { perSecond, seconds } from './row.js'
import { cellsOf, heading, line, markdown, plain } from './table.js'

const ratio = (median: number) => ({ median, min: median / 2, max: median * 2 })

const measured: RowResult = {
  name: 'load file read 4K depth 64',
  ...perSecond,
  figures: {
    ours: { figure: 300_000, cpuUsPerRequest: 2.5, residentMiB: 60, peakMiB: 64.4 },
    nbdkit: { figure: 120_000, ratio: ratio(2.5), cpuUsPerRequest: 6, residentMiB: 5, peakMiB: 9 },
    'qemu-nbd': { figure: 70_000, ratio: ratio(4) },
    'nbd-server': { failed: 'it burns' },
    'no filters': { skipped: 'there are none' },
  },
}
const failed: RowResult = { name: 'start', ...seconds, figures: {}, failed: 'ours: it burns' }
const skipped: RowResult = { name: 'fio null', ...perSecond, figures: {}, skipped: 'fio is missing' }

describe('a line', () => {
  test('has the ratio with its range, and what was measured of both', () =>
    assert.deepEqual(cellsOf(measured), [
      'load file read 4K depth 64',
      '2.50 (1.25 to 5.00)',
      '300k, 120k requests/s',
      '2.50, 6.00',
      '60 (64), 5 (9)',
      'qemu-nbd 4.00, nbd-server failed, no filters skipped',
    ]))
  test('has nothing where nothing was measured', () =>
    assert.deepEqual(
      cellsOf({ name: 'start', ...seconds, figures: { ours: { figure: 1 }, nbdkit: { figure: 2 } } }),
      ['start', '', '1.00, 2.00 s', '', '', ''],
    ))
  test('says why there are no figures', () => {
    assert.deepEqual(cellsOf(failed), ['start', 'failed: ours: it burns'])
    assert.deepEqual(cellsOf(skipped), ['fio null', 'skipped: fio is missing'])
  })
  test('of a row that exceeds its limit has its figures all the same', () => {
    const [name, range] = cellsOf({ ...measured, failed: '400 MiB is more than the limit, 300' })
    assert.equal(name, 'load file read 4K depth 64, failed: 400 MiB is more than the limit, 300')
    assert.equal(range, '2.50 (1.25 to 5.00)')
  })
  test('stands below its heading', () => {
    const nameWidth = 30
    const at = heading(nameWidth).indexOf('Ratio')
    assert.equal(line(cellsOf(measured), nameWidth).indexOf('2.50'), at)
  })
})

test('figures have three digits', () =>
  assert.deepEqual([0.123, 1.005, 12.34, 123.4, 9999, 12_345].map(plain), [
    '0.12',
    '1.00',
    '12.3',
    '123',
    '9999',
    '12k',
  ]))

test('a page gets a table for each client, and rows of others in one more', () => {
  const text = markdown([measured, failed, skipped])
  assert.deepEqual(text.match(/^### .*/gm), ['### fio', '### load', '### other'])
  const lines = text.split('\n').filter((each) => each.startsWith('|'))
  assert.equal(lines.length, 9)
  for (const each of lines) assert.equal(each.split('|').length, 8, each)
})
