import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Device } from '../../api/device.js'
import { ConfigError } from '../../api/errors.js'
import { deviceContract, openDevice, readBytes } from '../../testing/index.js'
import data from './data.js'

const MiB = 2 ** 20

/** All bytes of a disk. */
async function bytesFrom(text: string, variables: Readonly<Record<string, string>> = {}): Promise<Buffer> {
  const device = await openDevice(data({ data: text, variables }))
  const bytes = device.size === 0 ? Buffer.alloc(0) : await readBytes(device, 0, device.size)
  await device.close()
  return bytes
}

const plain: readonly [means: string, text: string, hex: string][] = [
  ['decimal, octal and hexadecimal bytes', '1 010 0x10 255', '010810ff'],
  [
    'words of both byte orders',
    'le16:1 be16:1 le32:2 be32:2 be64:0x102',
    '0100000102000000000000020000000000000102',
  ],
  ['the largest word', 'le64:0xffffffffffffffff', 'ffffffffffffffff'],
  ['words that are repeated', 'be16:1*2(be16:2)', '000100010002'],
  ['strings, with the bytes of UTF-8', '"aé"', '61c3a9'],
  [
    'escapes in strings',
    '"\\a\\b\\e\\f\\n\\r\\t\\v\\"\\\\\\?\\0\\377\\x41\\x7\\u00e9\\U0001f600"',
    '07081b0c0a0d090b225c3f00ff4107c3a9f09f9880',
  ],
  ['an escaped character of two code units', '"\\😀"', 'f09f9880'],
  ['moves of the offset', '1 @+1 2 @-1 3 @6 4', '01000300000004'],
  ['alignments', '@^3 1 @^3 2 @^2', '01000002'],
  ['an end where the offset was, though nothing was written there', '1 @4 @2', '01000000'],
  ['what covers what was there, with zeroes too', '1 2 3 4 @0 (@2 9)', '00000904'],
  ['groups whose offsets are their own', '9 (1 @2 2)*2', '09010002010002'],
  ['repeats of repeats', '(1 2*2)*2*2', '010202010202010202010202'],
  ['what is repeated no times', '(1)*0 2', '02'],
  ['slices', '"hello"[1:3] "hello"[3:] "hello"[:1] "hello"[:] "hello"[ 4 : 5 ]', '656c6c6f6868656c6c6f6f'],
  ['slices of repeats, in phase', '(1 2 3)*4[2:7]', '0301020301'],
  ['names', '1 2 -> \\two-2 \\two-2 \\two-2', '010202'],
  ['names in scopes', '1 -> \\a (2 -> \\a \\a (\\a)) \\a', '020201'],
  ['a name that is bound when it is used', '1 -> \\a (\\a) -> \\b 2 -> \\a \\b \\a', '0102'],
  ['comments', '1 # 2 )\n3# 4', '0103'],
  ['what stands side by side', '1"b"(2)3', '01620203'],
  ['nothing', ' # nothing', ''],
]
for (const [means, text, hex] of plain)
  test(`data is ${means}`, async () => {
    assert.equal((await bytesFrom(text)).toString('hex'), hex)
  })

test('data has variables, in a scope of their own that sees the names around it', async () => {
  const variables = { v: '\\x 2 -> \\x \\x', w: '$v*2' }
  assert.equal((await bytesFrom('1 -> \\x $w \\x', variables)).toString('hex'), '0102010201')
})

test('data has variables from the environment, and rather from its parameters', async () => {
  process.env.NBDKIT_TS_DATA_TEST = '7'
  try {
    assert.equal((await bytesFrom('$NBDKIT_TS_DATA_TEST')).toString('hex'), '07')
    const variables = { NBDKIT_TS_DATA_TEST: '8' }
    assert.equal((await bytesFrom('$NBDKIT_TS_DATA_TEST', variables)).toString('hex'), '08')
  } finally {
    delete process.env.NBDKIT_TS_DATA_TEST
  }
})

test('data is the content of files, whole and in part, also of those without an end', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'nbdkit-ts-data-'))
  try {
    const file = join(directory, 'file')
    await writeFile(file, 'some bytes')
    const text = `<${file}*2 <${file}[5:7] <${file}[8:99] (<${file}) </dev/zero[:2]*2`
    assert.equal((await bytesFrom(text)).toString(), 'some bytessome bytesbyessome bytes\0\0\0\0')
  } finally {
    await rm(directory, { recursive: true })
  }
})

test('data is what scripts print, and ends those that print without an end', async () => {
  const text = '<(echo "(a)") <(yes)[5:8] (<(yes))[:2] <(yes) -> \\y \\y[:3] <(exit 1)[:0] <(printf abc)[1:]'
  assert.equal((await bytesFrom(text)).toString(), '(a)\n\ny\ny\ny\nybc')
})

test('data that is random is the same wherever its name stands', async () => {
  const bytes = await bytesFrom('</dev/urandom[:600] -> \\r \\r \\r')
  assert.ok(bytes.subarray(0, 600).equals(bytes.subarray(600)))
})

test('data has the size that is asked for, longer or shorter than its bytes', async () => {
  for (const [size, text] of [
    [2, '1 2 3'],
    [5, '1 2 3'],
    [3, '</dev/zero'],
    [0, '1'],
  ] as const) {
    const device = await openDevice(data({ data: text, size }))
    assert.equal(device.size, size)
    if (size === 5) assert.equal((await readBytes(device, 0, 5)).toString('hex'), '0102030000')
    await device.close()
  }
})

test('data makes nothing that size cuts off', async () => {
  const device = await openDevice(data({ data: '("Hello")*1000000000000', size: 12 }))
  assert.equal((await readBytes(device, 0, 12)).toString(), 'HelloHelloHe')
  await device.close()
})

test('data that is mostly zeroes takes no memory for them, and says that they are holes', async () => {
  const device = await openDevice(data({ data: '((0)*1000000000000 1 @^4096)*1000 @0x10000000000000 2' }))
  assert.equal(device.size, 2 ** 52 + 1)
  const period = 10 ** 12 + 4096 - (10 ** 12 % 4096)
  for (const at of [1, 2, 999, 1000])
    assert.equal((await readBytes(device, at * period - 4096, 4096)).indexOf(1), 10 ** 12 % 4096)
  const first = [...(await device.extents(0, 4 * period))].slice(0, 2)
  assert.deepEqual(first, [
    { length: period - 4096, type: 3 },
    { length: 4096, type: 0 },
  ])
  await device.close()
})

test('data that is named over and over is painted in large pieces', async () => {
  const names = Array.from({ length: 24 }, (_, index) => `(\\a${index} \\a${index}) -> \\a${index + 1}`)
  const device = await openDevice(data({ data: `1 -> \\a0 ${names.join(' ')} \\a24` }))
  assert.equal(device.size, 2 ** 24)
  assert.ok((await readBytes(device, 0, 2 ** 24)).every((byte) => byte === 1))
  await device.close()
})

test('data repeats what is long and sparse, from any byte of it on, as its parts say', async () => {
  const item = Buffer.alloc(9000)
  item.fill(1, 0, 5000)
  const expected = Buffer.concat(Array.from({ length: 400 }, () => item))
  for (const [from, to] of [
    [0, 3_600_000],
    [4000, 9001],
    [8999, 3_000_000],
    [5000, 5001],
  ] as const) {
    const part = `(1*5000 @9000)*400[${from}:${to}]`
    assert.ok((await bytesFrom(part)).equals(expected.subarray(from, to)), part)
    const over = Buffer.alloc(4_000_000, 7)
    expected.copy(over, 3, from, to)
    assert.ok((await bytesFrom(`7*4000000 @3 ${part}`)).equals(over), `over others: ${part}`)
  }
})

for (const allocator of ['sparse', 'malloc'] as const)
  test(`data meets the contract of a device, and can all that memory can: ${allocator}`, async () => {
    const device = await openDevice(data({ data: '(1*5000 @9000)*100', size: '1M', allocator }))
    assert.equal((await readBytes(device, 9000 * 99, 5001)).lastIndexOf(1), 4999)
    const { write, flush, trim, zero, fastZero, fua, multiConn, cache, extents } = device.can
    assert.deepEqual(
      { write, flush, trim, zero, fastZero, fua, multiConn, cache, extents },
      {
        write: true,
        flush: true,
        trim: true,
        zero: 'native',
        fastZero: true,
        fua: 'native',
        multiConn: true,
        cache: 'native',
        extents: allocator === 'sparse',
      },
    )
    await device.cache(0, MiB)
    await deviceContract(device, { steps: 1000 })
    await device.close()
  })

test('data is given in base64, or raw', async () => {
  const devices: [Device, string][] = [
    [await openDevice(data({ base64: 'MTIz\n' })), '123'],
    [await openDevice(data({ raw: 'Hé' })), 'Hé'],
  ]
  for (const [device, text] of devices) {
    assert.equal((await readBytes(device, 0, device.size)).toString(), text)
    await device.close()
  }
})

const refused: readonly [means: string, text: string, message: string | RegExp][] = [
  ['a byte that is too large', '1 256', 'data: line 1, column 3: "256": expected a byte from 0 to 255'],
  ['a number that is none', '1\n  1x', /^data: line 2, column 3: "1x": expected a byte: a decimal, octal/],
  ['digits that are not octal', '08', /"08": expected a byte: a decimal/],
  ['0x without digits', '0x', /"0x": expected a byte: a decimal/],
  ['a word that is too large', 'le16:65536', /"le16:65536": expected a number of 16 bits .* from 0 to 65535/],
  ['a word without a number', 'be32: 5', /"be32:": expected a number of 32 bits after the colon: a decimal/],
  ['a word of another width', 'le8:1', /"le8:1": expected le16:, le32:/],
  [
    'what is no expression',
    '1 hello',
    /column 3: "hello": expected a byte, "STRING", le16:N, @OFFSET, <FILE/,
  ],
  ['what is no word at all', '1,2', /column 2: ",": expected a byte/],
  ['a string without an end', '1 "abc\\"', /column 3: .*: the string does not end: expected " after it/],
  ['an escape that is no byte', '"\\777"', /\\777 is no byte: the largest is \\377/],
  ['an escape without digits', '"\\x"', /expected hexadecimal digits after \\x/],
  ['an escape that is no character', '"\\ud800"', /\\ud800 is no character: expected \\u and 4/],
  ['an escape of too few digits', '"\\u12"', /\\u12 is no character/],
  ['a group that is not closed', '1 (2 (3)', /column 3: "\(": it is not closed: expected \) before the end/],
  ['a parenthesis too many', '1 ) 2', /column 3: "\)": nothing is open here that it could close/],
  ['a script that does not end', '<( echo (', /the script does not end: expected \) after it/],
  ['a file without a name', '< file', /"<": expected the name of a file after <, without a space/],
  ['a file that is not there', '1 </nowhere/file', /column 3: "<\/nowhere\/file": ENOENT: no such file/],
  ['a file that is a folder', '</', /"<\/": EISDIR/],
  ['a script that fails', '<(exit 3)', /"<\(exit 3\)": the script ended with status 3/],
  ['a script that is killed', '<(kill -9 $$)', /the script ended with SIGKILL/],
  ['a repeat of nothing', '*3', /"\*3": expected an expression before it/],
  ['a repeat of a move', '@5*3', /"\*3": expected an expression before it/],
  ['a repeat of what was named', '1 2 -> \\a *3', /"\*3": expected an expression before it/],
  ['a repeat without a number', '1*x', /"\*x": expected a number of times after \*/],
  ['a repeat of less than no times', '1*-1', /"\*-1": expected a number of times after \*/],
  ['a slice of nothing', '[1:2]', /"\[1:2\]": expected an expression before it/],
  ['a slice without a colon', '1[2]', /"\[2\]": expected \[N:M\], \[N:\] or \[:M\]/],
  ['a slice that is not closed', '1[2:', /"\[2:": expected \[N:M\]/],
  ['a slice of other than numbers', '1[a:b]', /"\[a:b\]": expected numbers of bytes in \[N:M\]/],
  ['a slice beyond the end', '(1 2)[1:3]', /"\[1:3\]": the expression before it has 2 bytes/],
  ['a slice that begins beyond the end', '(1 2)[3:]', /"\[3:\]": the expression before it has 2 bytes/],
  ['a slice that ends before it begins', '(1 2)[2:1]', /"\[2:1\]": it ends at 1, before it begins/],
  ['a name for nothing', '-> \\a', /"-> \\\\a": expected an expression before it/],
  ['an arrow without a name', '1 -> a', /"-> ": expected \\NAME after ->/],
  ['a backslash without a name', '\\ a', /"\\\\": expected a name/],
  [
    'a name that is not known',
    '\\a',
    /"\\\\a": the name is not known here: expected EXPRESSION -> \\a before it/,
  ],
  ['a name that is out of scope', '(1 -> \\a) \\a', /column 11: .* the name is not known here/],
  ['a dollar without a name', '$ a', /"\$": expected a name/],
  [
    'a variable that is not there',
    '$constructor',
    /"\$constructor": there is no such variable: expected constructor=/,
  ],
  ['an offset before the start', '1 @-2', /"@-2": it goes back before the start: the offset here is 1/],
  ['an offset without a number', '@ 5', /"@": expected an offset after @/],
  [
    'an offset that is too large',
    '@9007199254740992',
    /expected an offset after @ from 0 to 9007199254740991/,
  ],
  ['a move beyond the largest offset', '@9007199254740991 @+1', /"@\+1": it is beyond the largest offset/],
  ['bytes beyond the largest offset', '@9007199254740991 1', /"1": it is beyond the largest offset/],
  ['a repeat beyond the largest offset', '(@9007199254740991)*2', /"\*2": it is beyond the largest offset/],
  ['an alignment of nothing', '@^0', /"@\^0": expected an alignment of 1 or more/],
  [
    'more bytes than there is memory',
    '1*9007199254740991',
    /^data: up to 9007199254740991 bytes are not zero/,
  ],
  [
    'too many groups one within the other',
    '('.repeat(1000),
    /more than 200 expressions or variables are one within/,
  ],
  ['too many repeats one of the other', `1${'*1'.repeat(1000)}`, /more than 200 expressions/],
]
for (const [means, text, message] of refused)
  test(`data refuses ${means}`, async () => {
    await assert.rejects(openDevice(data({ data: text })), (error) => {
      assert.ok(error instanceof ConfigError)
      assert.doesNotMatch(error.message, /\n/)
      if (typeof message === 'string') assert.equal(error.message, message)
      else assert.match(error.message, message)
      return true
    })
  })

test('data says in which variable something is wrong', async () => {
  await assert.rejects(bytesFrom('1 $v', { v: '2\n300' }), {
    name: 'ConfigError',
    message: 'data: $v, line 2, column 1: "300": expected a byte from 0 to 255',
  })
})

test('data refuses a variable that holds itself, or that grows without end', async () => {
  await assert.rejects(bytesFrom('$v', { v: '1 $v' }), /data: \$v, line 1, column 3: "\$v": more than 200/)
  const variables: Record<string, string> = { v0: '1' }
  for (let step = 1; step < 40; step++) variables[`v${step}`] = `$v${step - 1} $v${step - 1}`
  await assert.rejects(bytesFrom('$v39', variables), /there are more than \d+ expressions/)
})

test('data refuses to be told its bytes twice, or not at all', async () => {
  await assert.rejects(
    openDevice(data({ raw: 'a', base64: '' })),
    new ConfigError('data: exactly one of data=, base64= and raw= is required, got base64= and raw='),
  )
  await assert.rejects(
    openDevice(data({})),
    new ConfigError('data: exactly one of data=, base64= and raw= is required, got none'),
  )
})

test('data refuses what is not base64', async () => {
  for (const base64 of ['MTI', 'MT!z', 'M=Iz'])
    await assert.rejects(openDevice(data({ base64 })), /^ConfigError: data: base64: ".*" is not base64$/)
})

test('data by malloc refuses at the start a disk that there is no memory for', async () => {
  await assert.rejects(openDevice(data({ data: '1', size: '7P', allocator: 'malloc' })), {
    name: 'ConfigError',
    message: /^data: allocator=malloc cannot reserve 7881299347898368 bytes \(.+\): allocator=sparse takes/,
  })
})

test('data refuses variables that are no texts', async () => {
  for (const variables of [{ v: 1 }, null, 'v=1'])
    await assert.rejects(
      openDevice(data({ data: '$v', variables: variables as unknown as Record<string, string> })),
      /^ConfigError: data: NAME: expected an object of texts, got/,
    )
})
