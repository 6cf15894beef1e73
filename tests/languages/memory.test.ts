/** A plugin that leaves the memory of a read as it was gives away nothing: not what another client wrote. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { createServer, type Layer } from 'nbdkit-ts'
import native from 'nbdkit-ts/plugins/native'
import python from 'nbdkit-ts/plugins/python'
import { NBD_CMD_READ, NBD_CMD_WRITE } from '../../src/protocol/constants.js'
import { connectTo } from '../../src/testing/connect.js'
import { needs, temporary } from '../interop/helpers.js'

const lengths = [1, 512, 4096, 32_768, 65_536, 262_144, 1_048_576]

/** What is written is found in no read, neither whole nor in part. */
async function holds(t: TestContext, plugin: Layer<'plugin'>): Promise<void> {
  const server = createServer({ plugin })
  t.after(() => server.shutdown({ graceMs: 0 }))
  const [{ client: one }, { client: two }] = [await connectTo(server), await connectTo(server)]
  for (const length of [...lengths, ...lengths.toReversed()])
    for (let round = 0; round < 3; round++) {
      const payload = Buffer.alloc(length, 'what one client wrote ')
      await one.request({ type: NBD_CMD_WRITE, offset: 0, length, payload })
      const [reply] = await two.request({ type: NBD_CMD_READ, offset: 0, length })
      assert.equal(reply?.error, 0)
      assert.ok(reply.data.equals(Buffer.alloc(length)), `a read of ${length} bytes`)
    }
}

const c = (model: string) => `#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>
#define THREAD_MODEL NBDKIT_THREAD_MODEL_${model}
static void *d_open (int readonly) { return NBDKIT_HANDLE_NOT_NEEDED; }
static int64_t d_size (void *h) { return 1048576; }
static int d_pread (void *h, void *b, uint32_t c, uint64_t o, uint32_t f) { return 0; }
static int d_pwrite (void *h, const void *b, uint32_t c, uint64_t o, uint32_t f) { return 0; }
static struct nbdkit_plugin plugin = { .name = "d", .open = d_open, .get_size = d_size, .pread = d_pread,
  .pwrite = d_pwrite };
NBDKIT_REGISTER_PLUGIN (plugin)
`

const py = (model: string) => `import nbdkit
API_VERSION = 2
def thread_model(): return nbdkit.THREAD_MODEL_${model}
def open(readonly): return 1
def get_size(h): return 1048576
def pread(h, buf, offset, flags): pass
def pwrite(h, buf, offset, flags): pass
`

const header = '/usr/include/nbdkit-plugin.h'
const compiled = needs('cc')
const ofC = compiled.skip || existsSync(header) ? compiled : { skip: `${header} is missing` }

describe('the memory of a read that is not filled is zero', () => {
  for (const model of ['SERIALIZE_ALL_REQUESTS', 'SERIALIZE_REQUESTS', 'PARALLEL']) {
    it(`in C, called by ${model}`, ofC, async (t) => {
      const directory = temporary(t)
      const [file, plugin] = [join(directory, 'd.c'), join(directory, 'd.so')]
      writeFileSync(file, c(model))
      execFileSync('cc', ['-shared', '-fPIC', '-o', plugin, file])
      await holds(t, native({ plugin }))
    })

    it(`in Python, called by ${model}`, needs('python3'), async (t) => {
      const script = join(temporary(t), 'd.py')
      writeFileSync(script, py(model))
      await holds(t, python({ script }))
    })
  }
})
