import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { choose, parseOptions } from './command-line.js'
import { IMAGE, SOURCE } from './row.js'
import { rows } from './rows.js'

describe('the rows', () => {
  test('have unique names', () => {
    const names = rows.map(({ name }) => name)
    assert.deepEqual(
      names.filter((name, at) => names.indexOf(name) !== at),
      [],
    )
  })
  test('have an image where their command lines name one', () => {
    for (const { name, disk, client } of rows) {
      assert.equal(disk.args.includes(IMAGE), disk.image !== undefined, name)
      if (client.program === 'nbdcopy')
        assert.equal(client.args.includes(SOURCE), client.source !== undefined, name)
    }
  })
  test('have one image for each name of an image', () => {
    const images = rows.flatMap(({ disk }) => disk.image ?? [])
    for (const image of images)
      for (const other of images) if (other.name === image.name) assert.deepEqual(other, image)
  })
  test('put other servers beside ours only where these can serve the same', () => {
    for (const { name, disk, others = [] } of rows)
      if (others.includes('qemu-nbd') || others.includes('nbd-server'))
        assert.deepEqual([disk.args, disk.tcp], [['file', IMAGE], undefined], name)
  })
})

describe('the command line', () => {
  const names = (...args: string[]) => choose(rows, parseOptions(args)).map(({ name }) => name)

  test('takes all rows without words, and a few of them for a quick look', () => {
    assert.equal(names().length, rows.length)
    const quick = names('--quick')
    assert.ok(quick.length >= 10 && quick.length <= 15)
  })
  test('takes the rows with one of its words in their name', () => {
    const chosen = names('nbdcopy', 'tcp')
    assert.ok(chosen.length > 1)
    assert.ok(chosen.every((name) => name.includes('nbdcopy') || name.includes('tcp')))
    assert.ok(names('--quick', 'file').length < names('file').length)
  })
  test('refuses a word that is in no name', () =>
    assert.throws(() => names('fio', 'floppy'), /^Error: no row has "floppy" in its name: --list/))
  test('runs more pairs when it is not quick, and as many as it is told', () => {
    assert.equal(parseOptions([]).pairs, 5)
    assert.equal(parseOptions(['--quick']).pairs, 3)
    assert.equal(parseOptions(['--pairs=9']).pairs, 9)
    assert.throws(() => parseOptions(['--pairs=0']), /out of range/)
  })
  test('refuses what does not go together, and what it does not know', () => {
    assert.throws(() => parseOptions(['--save']), /go with --quick/)
    assert.throws(() => parseOptions(['--check']), /go with --quick/)
    assert.throws(() => parseOptions(['--quick', '--save', 'fio']), /it takes no words/)
    assert.throws(() => parseOptions(['--slow']), /Unknown option '--slow'/)
  })
})
