/** What is said of a plugin that fails: all of it to the log, to the client what the plugin meant to say. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { createServer, type Layer, type Log } from 'nbdkit-ts'
import evalPlugin from 'nbdkit-ts/plugins/eval'
import native from 'nbdkit-ts/plugins/native'
import python from 'nbdkit-ts/plugins/python'
import { NBD_CMD_READ } from '../../src/protocol/constants.js'
import { keptLog } from '../../src/testing/connect.js'
import { pair } from '../../src/testing/pair.js'
import { RawClient } from '../../src/testing/raw-client.js'
import { needs, temporary } from '../interop/helpers.js'

/** What the log and the client are told of a read at 0. */
async function failureOf(t: TestContext, plugin: Layer<'plugin'>): Promise<{ log: string; client: string }> {
  const { log: loud, errors } = keptLog()
  const log: Log = { ...loud, debugging: false, child: () => log }
  const server = createServer({ plugin, log })
  t.after(() => server.shutdown({ graceMs: 0 }))
  const [ours, theirs] = pair()
  await server.serve(theirs)
  const client = new RawClient(ours)
  await client.go({ structured: true })
  const [reply] = await client.request({ type: NBD_CMD_READ, length: 512 })
  return { log: errors.join('\n'), client: reply?.message ?? 'nothing' }
}

function ofPython(t: TestContext, body: string): Layer<'plugin'> {
  const script = join(temporary(t), 'disk.py')
  writeFileSync(
    script,
    `import nbdkit, errno
API_VERSION = 2
def open(readonly): return 1
def get_size(h): return 65536
def pread(h, buf, offset, flags):
    ${body}
`,
  )
  return python({ script })
}

function ofC(t: TestContext, body: string): Layer<'plugin'> {
  const directory = temporary(t)
  const [file, plugin] = [join(directory, 'd.c'), join(directory, 'd.so')]
  writeFileSync(
    file,
    `#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>
#include <string.h>
#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL
static void *d_open (int readonly) { return NBDKIT_HANDLE_NOT_NEEDED; }
static int64_t d_size (void *h) { return 65536; }
static int d_pread (void *h, void *b, uint32_t c, uint64_t o, uint32_t f) { ${body} return -1; }
static struct nbdkit_plugin plugin = { .name = "d", .open = d_open, .get_size = d_size, .pread = d_pread };
NBDKIT_REGISTER_PLUGIN (plugin)
`,
  )
  execFileSync('cc', ['-shared', '-fPIC', '-o', plugin, file])
  return native({ plugin })
}

const ofShell = (pread: string) => evalPlugin({ get_size: 'echo 64k', pread })

const header = '/usr/include/nbdkit-plugin.h'
const found = needs('cc', 'python3')
const options = found.skip || existsSync(header) ? found : { skip: `${header} is missing` }

describe('a plugin that fails', options, () => {
  it('by an exception that it did not mean is logged with the line, and the client is told its name', async (t) => {
    const { log, client } = await failureOf(t, ofPython(t, '{}["/etc/secret"]'))
    assert.match(log, /python: read 512 at 0: KeyError: '\/etc\/secret' \(disk\.py:6\): EIO/)
    assert.equal(client, 'KeyError')
  })

  it('on purpose tells the client why', async (t) => {
    const said = [
      ofPython(t, 'nbdkit.set_error(errno.ENOSPC); raise Exception("the disk is full")'),
      ofC(t, 'nbdkit_error ("the disk is full");'),
      ofShell('echo "ENOSPC the disk is full" >&2; exit 1'),
    ]
    for (const plugin of said) {
      const { log, client } = await failureOf(t, plugin)
      assert.match(client, /the disk is full$/)
      assert.match(log, /read 512 at 0: .*the disk is full: E/)
    }
  })

  it('with any bytes in its message has them made visible, on one line that ends', async (t) => {
    const said = [
      ofPython(t, 'nbdkit.set_error(5); raise Exception("\\x1b[2J\\x07\\n\\x00" + "x" * 100000)'),
      ofPython(t, 'raise Exception("\\x1b[2J\\x07\\n\\x00" + "x" * 100000)'),
      ofC(t, 'static char m[90000]; memset (m, 120, 89999); nbdkit_error ("\\033[2J\\007\\n%s", m);'),
      ofShell(`printf '\\033[2J\\007\\n\\000' >&2; head -c 90000 /dev/zero | tr '\\000' x >&2; exit 1`),
    ]
    for (const plugin of said) {
      const { log, client } = await failureOf(t, plugin)
      for (const text of [log, client]) {
        assert.doesNotMatch(text, /\p{Cc}/u)
        assert.ok(text.length < 4200, `${text.length}`)
      }
      assert.match(log, /\\x1b\[2J\\x07.*x{3000}/)
    }
  })
})
