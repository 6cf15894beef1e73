/**
 * The same plugin in each language, served by the program and driven by libnbd: what it asks of the server is
 * done, with what docs/lifecycle.md promises.
 */
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { needsVersion, output, type Serving, serve, serveWithNbdkit } from '../interop/helpers.js'
import { type Language, languages } from './builds.js'

/** `code(call)` is the name of the error of a call. */
const prelude = `
import json, nbd
def connect():
    h = nbd.NBD()
    h.set_strict_mode(0)
    h.connect_uri(uri)
    return h
def code(call, *args):
    try:
        call(*args)
        return "ok"
    except nbd.Error as error:
        return error.errno
def gone(h):
    while not (h.aio_is_closed() or h.aio_is_dead()):
        if code(h.poll, 1000) not in ("ok", "ENOTCONN"): return False
    return True
def say(word): return word.encode().ljust(512, b"\\0")
lost = ("ENOTCONN", "ECONNRESET", "EPIPE")
h = connect()
h.pwrite(b"kept" * 128, 1024)
`

/** Serves the plugin while libnbd does what the script says, and stops it unless it has stopped. */
async function nbdsh(t: TestContext, language: Language, script: string) {
  const server = await serve(t, ...language.words())
  return { result: await drive(server, script), server }
}

async function drive(server: Serving, script: string): Promise<unknown> {
  const input = `uri = ${JSON.stringify(server.uri)}\n${prelude}${script}\nprint(json.dumps(result))\n`
  return JSON.parse(await output('nbdsh', ['-n', '-c', '-'], { input }))
}

for (const language of languages)
  describe(`a plugin in ${language.name}`, language.needs, () => {
    it('S3 S6 stops the server: the write that asks for it is answered, what follows is refused', async (t) => {
      const script = `
result = [code(h.pwrite, say("shutdown"), 0)]
while code(connect) == "ok": pass
result += [code(h.pread, 512, 0), code(h.shutdown)]`
      const { result, server } = await nbdsh(t, language, script)
      assert.deepEqual(result, ['ok', 'ESHUTDOWN', 'ok'])
      await server.stop()
    })

    it('C1 C6 drops its client by force: the write is not answered, other clients go on', async (t) => {
      const script = `
other = connect()
result = [code(h.pwrite, say("force"), 0) in lost, gone(h), code(other.pread, 512, 0), code(connect)]
other.shutdown()`
      const { result, server } = await nbdsh(t, language, script)
      assert.deepEqual(result, [true, true, 'ok', 'ok'])
      await server.stop()
    })

    it('C2 C3 C6 drops its client softly: the write succeeds, all that follow are refused', async (t) => {
      const script = `
other = connect()
result = [code(h.pwrite, say("soft"), 0), code(h.pread, 512, 0), code(h.pwrite, say("x"), 0), code(h.flush)]
result += [code(h.shutdown), gone(h), code(other.pread, 512, 0)]
other.shutdown()`
      const { result, server } = await nbdsh(t, language, script)
      assert.deepEqual(result, ['ok', 'ESHUTDOWN', 'ESHUTDOWN', 'ESHUTDOWN', 'ok', true, 'ok'])
      await server.stop()
    })

    it('C2 C9 drops its client softly and fails the write with ESHUTDOWN and its reason', async (t) => {
      const script = `
result = [code(h.pwrite, say("refuse"), 0), code(h.pread, 512, 0), code(h.shutdown)]`
      const { result, server } = await nbdsh(t, language, script)
      assert.deepEqual(result, ['ESHUTDOWN', 'ESHUTDOWN', 'ok'])
      assert.match(server.log(), /the disk takes no more: ESHUTDOWN/)
      await server.stop()
    })

    it('C6 keeps what was written, for the next client', async (t) => {
      const script = `
h.pwrite(say("soft"), 0)
h.shutdown()
result = connect().pread(8, 1024).decode("latin-1")`
      const { result } = await nbdsh(t, language, script)
      assert.equal(result, language.ownDisk ? '\0'.repeat(8) : 'keptkept')
    })
  })

/** nbdkit_disconnect came with 1.34, and with it the exit statuses of scripts that do the same. */
describe('nbdkit, of the same plugin,', () => {
  const scripts: Readonly<Record<string, string>> = {
    'drops a client by force as we do': `
other = connect()
result = [code(h.pwrite, say("force"), 0) in lost, gone(h), code(other.pread, 512, 0), code(connect)]
other.shutdown()`,
    'drops a client softly as we do': `
other = connect()
result = [code(h.pwrite, say("soft"), 0), code(h.pread, 512, 0), code(h.pwrite, say("x"), 0), code(h.flush)]
result += [code(h.shutdown), gone(h), code(other.pread, 512, 0)]
other.shutdown()`,
    'drops a client softly and fails the write as we do': `
result = [code(h.pwrite, say("refuse"), 0), code(h.pread, 512, 0), code(h.shutdown)]`,
  }
  for (const language of languages.filter(({ name }) => ['C', 'sh'].includes(name)))
    for (const [what, script] of Object.entries(scripts)) {
      const needed = language.needs.skip ? language.needs : needsVersion('nbdkit', '1.34')
      it(`in ${language.name}, ${what}`, needed, async (t) => {
        const [theirs, ours] = [
          await serveWithNbdkit(t, ...language.words()),
          await serve(t, ...language.words()),
        ]
        const expected = await drive(theirs, script)
        assert.deepEqual(await drive(ours, script), expected)
        assert.ok(Array.isArray(expected) && expected.length > 2)
      })
    }
})
