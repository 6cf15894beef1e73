/** Filters that change what a client is told or may do, seen by independent clients. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { needs, output, serve } from './helpers.js'

/** Runs a script of libnbd's shell on a server. The script has a handle `h` that is connected. */
async function nbdsh(uri: string, script: string): Promise<unknown> {
  const connected = `import json, nbd\nh = nbd.NBD()\nh.set_strict_mode(0)\nh.connect_uri(${JSON.stringify(uri)})`
  const input = `${connected}\n${script}\nh.shutdown()\n`
  return JSON.parse(await output('nbdsh', ['-n', '-c', '-'], { input }))
}

async function served(t: TestContext, words: readonly string[], script: string): Promise<unknown> {
  const server = await serve(t, ...words)
  const seen = await nbdsh(server.uri, script)
  await server.stop()
  return seen
}

describe('rotational', needs('nbdsh'), () => {
  for (const [value, expected] of [
    ['true', true],
    ['false', false],
  ] as const)
    test(`rotational=${value} is what libnbd sees`, async (t) => {
      const words = ['--filter=rotational', 'memory', '1M', `rotational=${value}`]
      assert.equal(await served(t, words, 'print(json.dumps(h.is_rotational()))'), expected)
    })
})

describe('openonce', needs('nbdinfo', 'nbdsh'), () => {
  test('opens one disk for clients that come one after the other', async (t) => {
    const server = await serve(t, '--filter=openonce', 'example3')
    const size = Number(await output('nbdinfo', ['--size', server.uri]))
    assert.equal(await nbdsh(server.uri, 'h.pwrite(b"x" * 512, 0); print(h.get_size())'), size)
    assert.equal(await nbdsh(server.uri, 'print(json.dumps(h.pread(512, 0) == b"x" * 512))'), true)
    await server.stop()
    assert.equal(server.log().match(/example3: open /g)?.length, 1, server.log())
  })
})
