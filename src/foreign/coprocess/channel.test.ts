import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { BusyPoll } from '../../net/busy-poll.js'
import { Channel, decodeWord, encodeWord } from './channel.js'

/** A channel whose other end is the test. */
function channel() {
  const [from, to] = [new PassThrough(), new PassThrough()]
  const events: string[] = []
  const made = new Channel(from, to, new BusyPoll(0), {
    shutdown: () => events.push('shutdown'),
    disconnect: (handle, force) => events.push(`disconnect ${handle} ${force}`),
    message: (kind, text) => events.push(`${kind} ${text}`),
    broken: (message) => events.push(`broken ${message}`),
  })
  const sent = async () => {
    await turn()
    let text = ''
    // Since Node 26 each read returns one chunk.
    for (let chunk: unknown = to.read(); chunk !== null; chunk = to.read()) text += String(chunk)
    return text
  }
  return { channel: made, events, sent, answer: (text: string) => from.write(text) }
}

describe('a channel', () => {
  it('sends a line for each call of a turn, and bytes behind it', async () => {
    const { channel: it, sent } = channel()
    void it.call('pread', ['1', 512, 0, ''])
    void it.call('pwrite', ['1', 3, 8, 'fua'], { input: Buffer.from('abc') })
    void it.call('config', ['key', 'a b\n%'])
    it.note('stopping')
    assert.equal(
      await sent(),
      '1 pread 1 512 0 \n2 pwrite 1 3 8 fua\nabc3 config key a%20b%0A%25\n- stopping\n',
    )
  })

  it('gives each call its answer, in whatever order they come', async () => {
    const { channel: it, answer } = channel()
    const [one, two, three] = [it.call('a', []), it.call('b', []), it.call('c', [])]
    answer('3 false\n2 ok 2\nhi1 missing\n')
    assert.deepEqual(await one, { status: 'missing', output: new Uint8Array(0) })
    assert.deepEqual((await two).output, new TextEncoder().encode('hi'))
    assert.deepEqual(await three, { status: 'false', output: new Uint8Array(0) })
    assert.equal(it.waiting, 0)
  })

  it('fails a call with the error that is answered', async () => {
    const { channel: it, answer } = channel()
    const [one, two] = [it.call('trim', []), it.call('trim', [])]
    answer('1 error ENOSPC it is full\n2 error\n')
    await assert.rejects(one, { code: 'ENOSPC', message: 'it is full' })
    await assert.rejects(two, { code: 'EIO', message: 'trim: it failed' })
  })

  it('fails a call that is answered with too many bytes, and goes on', async () => {
    const { channel: it, answer } = channel()
    const into = Buffer.alloc(3)
    const [one, two] = [it.call('pread', [], { into }), it.call('pread', [], { into })]
    answer('1 ok 6\nabcdef2 ok 3\nxyz')
    await assert.rejects(one, { code: 'EIO', message: 'pread: it answered 6 bytes, wanted were 3' })
    assert.equal(String((await two).output), 'xyz')
  })

  it('tells what else is sent, in order', async () => {
    const { events, answer } = channel()
    answer('log a\nshutdown\ndisconnect 1 force\ndebug b\n')
    await turn()
    assert.deepEqual(events, ['log a', 'shutdown', 'disconnect 1 true', 'debug b'])
  })

  it('says what broke it', async () => {
    const { events, answer } = channel()
    answer('nonsense\n')
    await turn()
    assert.deepEqual(events, ['broken a line that is none of the protocol: "nonsense"'])
  })

  it('fails all that waits and all that comes, when it is told to', async () => {
    const { channel: it, sent } = channel()
    const before = it.call('a', [])
    await sent()
    it.fail(new Error('it has ended'))
    await assert.rejects(before, /it has ended/)
    await assert.rejects(it.call('b', []), /it has ended/)
    it.note('stopping')
    assert.equal(await sent(), '')
  })
})

describe('a word', () => {
  it('has no space and no control character in it, and comes back as it was', () => {
    for (const word of ['', 'plain', 'a b', '100%', 'ä ö', 'a\tb\nc\x7f', '%20', '\0'])
      assert.equal(decodeWord(encodeWord(word)), word)
    assert.equal(encodeWord('a b%\n'), 'a%20b%25%0A')
    assert.equal(encodeWord('ä'), '%C3%A4')
    assert.equal(decodeWord('%C3%A4'), 'ä')
  })
})
