/** A client that vanishes wakes the plugin that sleeps for it, in each language, and so does a shutdown. */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createServer, type Layer } from 'nbdkit-ts'
import native from 'nbdkit-ts/plugins/native'
import python from 'nbdkit-ts/plugins/python'
import sh from 'nbdkit-ts/plugins/sh'
import { RawClient } from 'nbdkit-ts/testing'
import { NBD_CMD_READ, NBD_CMD_WRITE, NBD_ESHUTDOWN } from '../../src/protocol/constants.js'
import { until } from '../../src/testing/until.js'
import { needs, temporary } from '../interop/helpers.js'

/** A read at 0 leaves a word in a file, and sleeps for longer than any test waits. */
const c = (log: string, model: string) => `#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>
#include <stdio.h>
#define THREAD_MODEL NBDKIT_THREAD_MODEL_${model}
static void *d_open (int readonly) { return NBDKIT_HANDLE_NOT_NEEDED; }
static int64_t d_size (void *h) { return 65536; }
static int d_pread (void *h, void *b, uint32_t c, uint64_t o, uint32_t f)
{
  if (o > 0) return 0;
  FILE *log = fopen ("${log}", "a");
  fputs ("sleeps\\n", log);
  fclose (log);
  return nbdkit_nanosleep (100000, 0);
}
static struct nbdkit_plugin plugin = { .name = "d", .open = d_open, .get_size = d_size, .pread = d_pread };
NBDKIT_REGISTER_PLUGIN (plugin)
`

const py = (log: string, model: string) => `import io, nbdkit
API_VERSION = 2
def thread_model(): return nbdkit.THREAD_MODEL_${model}
def open(readonly): return 1
def get_size(h): return 65536
def pread(h, buf, offset, flags):
    if offset > 0: return
    with io.open("${log}", "a") as file: file.write("sleeps\\n")
    nbdkit.nanosleep(100000, 0)
`

function pluginOf(t: TestContext, language: string, model: string): { plugin: Layer<'plugin'>; log: string } {
  const directory = temporary(t)
  const [log, file] = [join(directory, 'log'), join(directory, language === 'C' ? 'd.c' : 'd.py')]
  writeFileSync(file, language === 'C' ? c(log, model) : py(log, model))
  if (language === 'Python') return { plugin: python({ script: file }), log }
  execFileSync('cc', ['-shared', '-fPIC', '-o', join(directory, 'd.so'), file])
  return { plugin: native({ plugin: join(directory, 'd.so') }), log }
}

async function listening(t: TestContext, plugin: Layer<'plugin'>) {
  const server = createServer({ plugin })
  const path = join(temporary(t), 'socket')
  t.after(() => server.shutdown({ graceMs: 0 }))
  await server.listen({ path })
  const connect = async () => {
    const client = await RawClient.connect({ path })
    await client.go()
    return client
  }
  return { server, connect }
}

async function appears(log: string, text: string): Promise<void> {
  await until(() => existsSync(log) && readFileSync(log, 'utf8').includes(text))
}

const read = { type: NBD_CMD_READ, length: 512 }
const header = '/usr/include/nbdkit-plugin.h'
const found = needs('cc')
const optionsOf: Readonly<Record<string, { skip: string | false }>> = {
  C: found.skip || existsSync(header) ? found : { skip: `${header} is missing` },
  Python: needs('python3'),
}

for (const [language, options] of Object.entries(optionsOf))
  describe(`a plugin in ${language} that sleeps`, options, () => {
    for (const model of ['SERIALIZE_CONNECTIONS', 'SERIALIZE_ALL_REQUESTS', 'PARALLEL'])
      it(`C8 wakes when its client vanishes, and the next one is served: ${model}`, async (t) => {
        const { plugin, log } = pluginOf(t, language, model)
        const { connect } = await listening(t, plugin)
        const client = await connect()
        client.sendRequest(read)
        await appears(log, 'sleeps')
        client.stream.destroy()
        const [reply] = await (await connect()).request({ ...read, offset: 512 })
        assert.equal(reply?.error, 0)
      })

    it('S11 wakes when the server stops, and its request fails with ESHUTDOWN', async (t) => {
      const { plugin, log } = pluginOf(t, language, 'SERIALIZE_ALL_REQUESTS')
      const { server, connect } = await listening(t, plugin)
      const client = await connect()
      client.sendRequest(read)
      await appears(log, 'sleeps')
      const stopped = server.shutdown({ graceMs: 600_000 })
      assert.equal((await client.reply()).error, NBD_ESHUTDOWN)
      await stopped
    })
  })

/** A script whose reads and writes take until a file is there, and what they leave in a log. */
function slowScript(t: TestContext) {
  const directory = temporary(t)
  const path = (name: string) => join(directory, name)
  const [script, log, flag] = [path('script'), path('log'), path('flag')]
  const work = `echo begun >> ${log}; while ! [ -e ${flag} ]; do sleep 0.05; done; echo ended >> ${log}`
  const text = `#!/bin/sh
case "$1" in
  get_size) echo 64k ;;
  can_write) ;;
  pread) ${work}; head -c "$3" /dev/zero ;;
  pwrite) cat > /dev/null; ${work} ;;
  close) echo closed >> ${log} ;;
  *) exit 2 ;;
esac
`
  writeFileSync(script, text, { mode: 0o755 })
  return { script, log, goOn: () => writeFileSync(flag, ''), said: () => readFileSync(log, 'utf8') }
}

describe('a script whose client leaves', () => {
  it('is ended when it only reads, and nobody is there to read what it prints', async (t) => {
    const { script, log, said } = slowScript(t)
    const { connect } = await listening(t, sh({ script }))
    const client = await connect()
    client.sendRequest(read)
    await appears(log, 'begun')
    client.stream.destroy()
    await appears(log, 'closed')
    assert.equal(said(), 'begun\nclosed\n')
  })

  it('runs to its end when it writes, as in nbdkit', async (t) => {
    const { script, log, goOn, said } = slowScript(t)
    const { server, connect } = await listening(t, sh({ script }))
    const client = await connect()
    client.sendRequest({ type: NBD_CMD_WRITE, length: 512, payload: Buffer.alloc(512) })
    await appears(log, 'begun')
    client.stream.destroy()
    while ([...server.connections][0]?.signal.aborted === false) await sleep(10)
    goOn()
    await appears(log, 'closed')
    assert.equal(said(), 'begun\nended\nclosed\n')
  })

  it('runs to its end, and is answered, when the client has only said that it asks no more', async (t) => {
    const { script, log, goOn, said } = slowScript(t)
    const { server, connect } = await listening(t, sh({ script }))
    const client = await connect()
    client.sendRequest(read)
    await appears(log, 'begun')
    client.stream.end()
    while ([...server.connections][0]?.signal.aborted === false) await sleep(10)
    goOn()
    assert.equal((await client.reply()).error, 0)
    await appears(log, 'closed')
    assert.equal(said(), 'begun\nended\nclosed\n')
  })
})
