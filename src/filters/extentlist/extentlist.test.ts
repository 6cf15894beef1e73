import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { type DeviceInit, HOLE, ZERO } from '../../api/device.js'
import memory from '../../plugins/memory/memory.js'
import { deviceContract, openDevice } from '../../testing/index.js'
import { Disk } from '../../testing/served-disk.js'
import extentlist from './extentlist.js'
import { parseList } from './list.js'

async function fileWith(t: TestContext, text: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'nbdkit-ts-extentlist-'))
  t.after(() => rm(directory, { recursive: true }))
  const file = join(directory, 'list')
  await writeFile(file, text)
  return file
}

async function extents(t: TestContext, text: string, init: Partial<DeviceInit> = {}, range = [0, 65536]) {
  const device = await openDevice(new Disk({ device: init }).plugin, [
    extentlist({ file: await fileWith(t, text) }),
  ])
  const [offset = 0, length = 0] = range
  const runs = [...(await device.extents(offset, length))].map((run) => [run.length, run.type])
  await device.close()
  return runs
}

const gap = HOLE | ZERO

describe('extentlist', () => {
  const lists: [name: string, text: string, runs: [length: number, type: number][]][] = [
    ['an empty file', '', [[65536, gap]]],
    ['a file of empty lines and comments', '\n# data:\n  \n \t# 0 1\n', [[65536, gap]]],
    [
      'a run at the start',
      '0 1k',
      [
        [1024, 0],
        [64512, gap],
      ],
    ],
    [
      'a run in the middle',
      '1k\t1k\n',
      [
        [1024, gap],
        [1024, 0],
        [63488, gap],
      ],
    ],
    [
      'a run up to the end',
      '65024 512',
      [
        [65024, gap],
        [512, 0],
      ],
    ],
    ['a run beyond the end', '1M 1M', [[65536, gap]]],
    [
      'a run across the end',
      '60000 1M',
      [
        [60000, gap],
        [5536, 0],
      ],
    ],
    [
      'runs out of order',
      '2s 1s zero\n0 1s hole\n',
      [
        [512, HOLE],
        [512, gap],
        [512, ZERO],
        [64000, gap],
      ],
    ],
    [
      'runs that touch',
      '0 1s 3\n1s 1s 0\n',
      [
        [512, gap],
        [512, 0],
        [64512, gap],
      ],
    ],
    ['a run of no bytes', '0 0 x\n'.replace('x', 'hole'), [[65536, gap]]],
    ['words behind the type', '0 64k hole,zero and more', [[65536, gap]]],
    [
      'lines that end as in Windows',
      '0 512 zero\r\n512 512\r\n',
      [
        [512, ZERO],
        [512, 0],
        [64512, gap],
      ],
    ],
  ]
  for (const [name, text, runs] of lists)
    test(`reports ${name}`, async (t) => assert.deepEqual(await extents(t, text), runs))

  test('reports a part of a run, or of a gap', async (t) => {
    assert.deepEqual(await extents(t, '1000 1000\n', {}, [1500, 1000]), [
      [500, 0],
      [500, gap],
    ])
    assert.deepEqual(await extents(t, '1000 1000\n', {}, [100, 10]), [[10, gap]])
  })

  const types: [word: string, type: number][] = [
    ['0', 0],
    ['3', gap],
    ['4294967295', 0xffffffff],
    ['data', 0],
    ['hole', HOLE],
    ['zero', ZERO],
    ['zero,hole', gap],
  ]
  for (const [word, type] of types)
    test(`takes ${word} for the type ${type}`, () =>
      assert.deepEqual(
        parseList(`0 1 ${word}`, 'list').map((run) => run.type),
        [type],
      ))

  const wrong: [text: string, message: string][] = [
    ['512', 'line 1: expected an offset, a length and a type'],
    ['\n\n-1 512', 'line 3: could not parse size "-1": expected a number and a unit, such as 512, 64k or 1G'],
    ['0 x', 'line 1: could not parse size "x": expected a number and a unit, such as 512, 64k or 1G'],
    ['0 1 nonzero', 'line 1: "nonzero" is no type: expected a number, or hole and zero, joined by a comma'],
    ['0 1 4294967296', 'line 1: the type 4294967296 is above 4294967295'],
    ['1 9007199254740991', 'line 1: 9007199254740991 bytes at 1 end behind the largest offset'],
    ['0 10\n20 5\n9 1', 'line 3 overlaps line 1: one begins at 9, and the other ends at 10'],
  ]
  for (const [text, message] of wrong)
    test(`refuses a file with ${JSON.stringify(text)}`, async (t) => {
      const file = await fileWith(t, text)
      await assert.rejects(openDevice(new Disk().plugin, [extentlist({ file })]), {
        name: 'ConfigError',
        message: `extentlist: ${file}: ${message}`,
      })
    })

  test('refuses a file that cannot be read, and one that is not named', async () => {
    await assert.rejects(openDevice(new Disk().plugin, [extentlist({ file: '/nonexistent' })]), {
      name: 'ConfigError',
      message: /^extentlist: extentlist=\/nonexistent cannot be read: ENOENT/,
    })
    await assert.rejects(openDevice(new Disk().plugin, [extentlist({ file: '' })]), { name: 'ConfigError' })
  })

  test('does not ask the disk below, but for metadata contexts of its own', async (t) => {
    const asked: string[] = []
    const disk = new Disk({
      device: {
        contexts: ['x-test:dirty'],
        extents: (_offset, length, context) => {
          asked.push(context)
          return [{ length, type: 7 }]
        },
      },
    })
    const device = await openDevice(disk.plugin, [extentlist({ file: await fileWith(t, '0 1k') })])
    assert.deepEqual([...(await device.extents(0, 512))], [{ length: 512, type: 0 }])
    assert.deepEqual([...(await device.extents(0, 512, 'x-test:dirty'))], [{ length: 512, type: 7 }])
    assert.deepEqual(asked, ['x-test:dirty'])
    await device.close()
  })

  test('reports whole blocks where the disk has a minimum block size', async (t) => {
    const blockSize = { minimum: 512, preferred: 4096, maximum: 65536 }
    assert.deepEqual(await extents(t, '0 100\n1024 512', { blockSize }), [
      [512, 0],
      [512, gap],
      [512, 0],
      [64000, gap],
    ])
  })

  test('reads a list once for all threads', async (t) => {
    const file = await fileWith(t, '0 1k\n')
    const { threads } = extentlist.definition
    assert.ok(typeof threads === 'object')
    assert.deepEqual(await threads.share({ file }), [{ start: 0, end: 1024, type: 0, line: 1 }])
  })

  test('meets the contract of a device, with a list that tells the truth', async (t) => {
    const device = await openDevice(memory({ size: 200_000 }), [
      extentlist({ file: await fileWith(t, '0 200000') }),
    ])
    assert.equal(device.window(0, 65536)?.length, 65536)
    await deviceContract(device)
    await device.close()
  })
})
