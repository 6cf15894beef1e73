import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { everySplit } from '../../testing/every-split.js'
import { ReplyDecoder } from './replies.js'

/** All decoded events as text. Calls 1 to 9 are waiting, and each wants at most `tag` bytes. */
function decode(pieces: readonly Uint8Array[]): string[] {
  const found: string[] = []
  const decoder = new ReplyDecoder({
    target: (tag, length) => (tag >= 1 && tag <= 9 ? Buffer.alloc(Math.min(tag, length)) : undefined),
    ok: (tag, output, length) => found.push(`${tag} ok ${length} ${Buffer.from(output)}`),
    other: (tag, status) => found.push(`${tag} ${status}`),
    error: (tag, code, message) => found.push(`${tag} ${code} ${message}`),
    raised: (tag, { name, place, message }) => found.push(`${tag} raised ${name} ${place} ${message}`),
    shutdown: () => found.push('shutdown'),
    disconnect: (handle, force) => found.push(`disconnect ${handle} ${force}`),
    message: (kind, text) => found.push(`${kind}: ${text}`),
  })
  for (const piece of pieces) decoder.push(Buffer.from(piece))
  return found
}

const whole = [
  '1 ok\n2 ok 0\n5 ok 5\nab\ncd9 false\n8 missing\n7 error\n6 error ENOSPC\n',
  '5 error EINVAL it is wrong: ä\n4 error the disk is full\n3 ok 5\nabcde',
  '9 raised TypeError a%20b.py:3 not a number\n8 raised Full f:1\n- missing\n',
  'shutdown\ndisconnect 1 soft\ndisconnect h/2 force\nlog\nlog a b\ndebug c\n',
].join('')

const expected = [
  ...['1 ok 0 ', '2 ok 0 ', '5 ok 5 ab\ncd', '9 false', '8 missing', '7 EIO ', '6 ENOSPC '],
  // The call wanted three of the five bytes.
  ...['5 EINVAL it is wrong: ä', '4 EIO the disk is full', '3 ok 5 abc'],
  ...['9 raised TypeError a%20b.py:3 not a number', '8 raised Full f:1 '],
  ...['shutdown', 'disconnect 1 false', 'disconnect h/2 true', 'log: ', 'log: a b', 'debug: c'],
]

describe('what a coprocess sends', () => {
  it('is read in one piece', () => assert.deepEqual(decode([Buffer.from(whole)]), expected))

  it('is read in any pieces', () => {
    for (const pieces of everySplit(Buffer.from(whole))) assert.deepEqual(decode(pieces), expected)
  })

  const wrong: [text: string, message: RegExp][] = [
    ['hello\n', /none of the protocol: "hello"/],
    ['\n', /none of the protocol: ""/],
    ['shutdown now\n', /none of the protocol/],
    ['disconnect 1\n', /none of the protocol/],
    ['disconnect 1 gently\n', /none of the protocol/],
    ['1\n', /does not wait: "1"/],
    ['10 ok\n', /an answer to a call that does not wait: "10 ok"/],
    ['1 well\n', /none of the protocol: "1 well"/],
    ['1 ok \n', /none of the protocol/],
    ['1 ok 00\n', /none of the protocol/],
    ['1 ok -1\n', /has no length/],
    ['1 ok 1e3\n', /has no length/],
    ['1 ok 99999999999999999999\n', /has no length/],
    [`${'x'.repeat(200)}\n`, /"x{80}…"/],
  ]
  for (const [text, message] of wrong)
    it(`is refused: ${text.slice(0, 30).trim()}`, () =>
      assert.throws(() => decode([Buffer.from(text)]), message))

  it('is received where it shall stay, where it is long', () => {
    const target = Buffer.alloc(100_000)
    const answers: number[][] = []
    const decoder = new ReplyDecoder({
      target: () => target,
      ok: (tag, output, length) => answers.push([tag, output.length, length]),
      ...{ other() {}, error() {}, raised() {}, shutdown() {}, disconnect() {}, message() {} },
    })
    assert.equal(decoder.place(), undefined)
    decoder.push(Buffer.from('1 ok 100000\nabc'))
    const place = decoder.place()
    assert.equal(place?.length, 99_997)
    place?.fill(120)
    decoder.placed(90_000)
    // The rest is short: it arrives with the next line.
    assert.equal(decoder.place(), undefined)
    decoder.push(Buffer.concat([Buffer.alloc(9_997, 'y'), Buffer.from('2 false\n')]))
    assert.deepEqual(answers, [[1, 100_000, 100_000]])
    assert.equal(String(target), `abc${'x'.repeat(90_000)}${'y'.repeat(9_997)}`)
    assert.equal(decoder.place(), undefined)
  })

  it('is refused where a line has no end', () => {
    const part = Buffer.alloc(40_000, 'a')
    assert.throws(() => decode([part, part]), /a line of more than 65536 bytes/)
  })
})
