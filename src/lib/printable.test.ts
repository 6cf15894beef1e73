import assert from 'node:assert/strict'
import { test } from 'node:test'
import { messageCharactersMax, printable, printableLine } from './printable.js'

test('control characters that a client chose are spelled out', () => {
  assert.equal(printable('export "\x1b[2J\r\x07\x7f"'), 'export "\\x1b[2J\\x0d\\x07\\x7f"')
})

test('further lines of a message are indented, so that none looks like one of ours', () => {
  assert.equal(printable('a\nnbdkit-ts: error: forged\n'), 'a\n  nbdkit-ts: error: forged')
})

test('characters that turn the text around, or end a line elsewhere, are spelled out', () => {
  assert.equal(printable('a\u202egpj.exe\u2028b\u200fc\ud800d'), 'a\\u202egpj.exe\\u2028b\\u200fc\\ud800d')
})

test('letters of any script are left as they are, tabs too', () => {
  const text = 'größe\tразмер 大きさ حجم 👩‍👩‍👧'
  assert.equal(printable(text), text)
})

test('what is too long loses its middle, and says how much', () => {
  const text = `begin ${'x'.repeat(2 ** 20)} end`
  const shown = printable(text)
  assert.ok(shown.length < messageCharactersMax + 100)
  assert.match(shown, /^begin x+ \[1032\d{3} characters left out\] x+ end$/)
})

test('a line of a plugin is one, and has an end, whatever it is made of', () => {
  assert.equal(printableLine('a\tb\nc\x1b[2J'), 'a b c\\x1b[2J')
  for (const text of ['x'.repeat(5000), '\x1b'.repeat(1e6), '\u{1f600}'.repeat(5000)]) {
    const line = printableLine(text)
    assert.ok(line.length <= 4001 && line.endsWith('…'), `${line.length}`)
  }
  assert.equal(printableLine('x'.repeat(4000)), 'x'.repeat(4000))
})
