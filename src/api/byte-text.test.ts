import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bytesOfText, fsPath, isUtf8, requireUtf8, showBytes, textOfBytes } from './byte-text.js'

const bytes = (hex: string) => Buffer.from(hex.replaceAll(' ', ''), 'hex')

test('all bytes are a text, and the same bytes again', () => {
  const every = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
  assert.deepEqual(bytesOfText(textOfBytes(every)), every)
  assert.equal(isUtf8(textOfBytes(every)), false)
})

test('characters that are cut, overlong, surrogates, too high or of another code keep their bytes', () => {
  for (const hex of [
    'c3',
    'e2 82',
    'f0 9f 92',
    'c0 80',
    'ed a0 80',
    'f4 90 80 80',
    'ff fe',
    'e4 41',
    '80 c3 a9 ff',
  ]) {
    const text = textOfBytes(bytes(hex))
    assert.equal(isUtf8(text), false, hex)
    assert.deepEqual(bytesOfText(text), bytes(hex), hex)
  }
})

test('proper text stays as it is, also with characters of two units, a byte order mark or U+FFFD', () => {
  for (const text of ['', 'plain', 'héé', '💀 and 😀', '\ufeffmark', '\ufffd']) {
    assert.equal(textOfBytes(Buffer.from(text)), text)
    assert.equal(isUtf8(text), true, text)
    assert.equal(fsPath(text), text)
    assert.equal(requireUtf8(text), text)
  }
})

test('characters beside stray bytes stay characters', () => {
  const text = textOfBytes(Buffer.concat([Buffer.from('né'), bytes('ff'), Buffer.from('💀')]))
  assert.equal(showBytes(text), 'né\\xff💀')
  assert.deepEqual(fsPath(text), Buffer.concat([Buffer.from('né'), bytes('ff'), Buffer.from('💀')]))
  assert.throws(() => requireUtf8(text), { message: '"né\\xff💀" is not UTF-8, and cannot be used here' })
})
