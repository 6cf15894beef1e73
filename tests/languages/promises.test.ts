/** Promises of docs/lifecycle.md that the small plugin of the examples does not show. */

import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createServer, type Layer } from 'nbdkit-ts'
import native from 'nbdkit-ts/plugins/native'
import python from 'nbdkit-ts/plugins/python'
import sh from 'nbdkit-ts/plugins/sh'
import { NBD_CMD_DISC, NBD_CMD_READ, NBD_ESHUTDOWN } from '../../src/protocol/constants.js'
import { connectTo } from '../../src/testing/connect.js'
import { until } from '../../src/testing/until.js'
import { needs, temporary } from '../interop/helpers.js'
import { findProgram, packageRoot } from '../programs.js'

/** Notes each callback in a file, and drops its client, softly or by force, where it is read at 512. */
const scripts = {
  sh: (log: string, force: boolean) => `#!/bin/sh
case "$1" in open | pread | close | unload) echo "$1 $4" >> ${log} ;; esac
case "$1" in
  get_size) echo 64k ;;
  pread) head -c "$3" /dev/zero; [ "$4" = 512 ] && exit ${force ? 6 : 7}; exit 0 ;;
  open | close | unload) ;;
  *) exit 2 ;;
esac
`,
  python: (log: string, force: boolean) => `import io, nbdkit
API_VERSION = 2
def note(text):
    with io.open("${log}", "a") as file: print(text, file=file)
def open(readonly): note("open"); return 1
def get_size(h): return 65536
def pread(h, buf, offset, flags):
    note(f"pread {offset}")
    buf[:] = bytes(len(buf))
    if offset == 512: nbdkit.disconnect(${force ? 'True' : 'False'})
def close(h): note("close ")
def cleanup(): note("unload ")
`,
  native: (log: string, force: boolean) => `#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>
#include <stdio.h>
#include <string.h>
#define THREAD_MODEL NBDKIT_THREAD_MODEL_SERIALIZE_ALL_REQUESTS
extern void nbdkit_disconnect (int force);
static void note (const char *text) { FILE *f = fopen ("${log}", "a"); fputs (text, f); fclose (f); }
static void *d_open (int readonly) { note ("open \\n"); return NBDKIT_HANDLE_NOT_NEEDED; }
static void d_close (void *h) { note ("close \\n"); }
static void d_unload (void) { note ("unload \\n"); }
static int64_t d_size (void *h) { return 65536; }
static int d_pread (void *h, void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
  char text[64];
  sprintf (text, "pread %d\\n", (int) offset);
  note (text);
  memset (buf, 0, count);
  if (offset == 512) nbdkit_disconnect (${Number(force)});
  return 0;
}
static struct nbdkit_plugin plugin = { .name = "d", .open = d_open, .close = d_close, .unload = d_unload,
  .get_size = d_size, .pread = d_pread };
NBDKIT_REGISTER_PLUGIN (plugin)
`,
}
type Kind = keyof typeof scripts

function layerOf(t: TestContext, kind: Kind, force: boolean): { layer: Layer<'plugin'>; log: string } {
  const directory = temporary(t)
  const [log, file] = [join(directory, 'log'), join(directory, kind === 'native' ? 'd.c' : 'script')]
  writeFileSync(file, scripts[kind](log, force), { mode: 0o755 })
  if (kind === 'sh') return { layer: sh({ script: file }), log }
  if (kind === 'python') return { layer: python({ script: file }), log }
  const plugin = join(directory, 'd.so')
  const built = spawnSync('cc', ['-shared', '-fPIC', '-o', plugin, file], { encoding: 'utf8' })
  assert.equal(built.status, 0, built.stderr)
  return { layer: native({ plugin }), log }
}

for (const kind of ['sh', 'python', 'native'] as const)
  describe(`a plugin of ${kind}`, kind === 'native' ? needs('cc') : {}, () => {
    for (const force of [false, true])
      it(`C5 S8 hears close next when it drops its client ${force ? 'by force' : 'softly'}, whatever was on the way`, async (t) => {
        const { layer, log } = layerOf(t, kind, force)
        const server = createServer({ plugin: layer })
        const { client, connection } = await connectTo(server)
        const offsets = [0, 512, 1024, 1536, 2048]
        for (const offset of offsets)
          client.sendRequest({ type: NBD_CMD_READ, cookie: offset, offset, length: 512 })
        if (!force) {
          const errors = new Map<number, number>()
          for (const _ of offsets) {
            const { cookie, error } = await client.reply()
            errors.set(cookie, error)
          }
          assert.deepEqual([errors.get(0), errors.get(512)], [0, 0])
          for (const offset of [1024, 1536, 2048]) assert.equal(errors.get(offset), NBD_ESHUTDOWN)
          client.sendRequest({ type: NBD_CMD_DISC })
        }
        await connection.closed
        await server.shutdown()
        const lines = readFileSync(log, 'utf8')
          .split('\n')
          .map((line) => line.trim())
        // Only sh has more words behind open.
        const heard = lines.map((line) => line.replace(/^open.*/, 'open'))
        assert.deepEqual(heard, ['open', 'pread 0', 'pread 512', 'close', 'unload', ''])
      })
  })

const program = join(packageRoot, 'bin', 'nbdkit-ts')

async function run(...args: string[]) {
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  let stderr = ''
  child.stderr.on('data', (chunk) => (stderr += chunk))
  const ended = once(child, 'close') as Promise<[number | null]>
  return { child, ended: async () => ({ status: (await ended)[0], stderr }) }
}

describe('a plugin that stops the server before it serves', () => {
  const early = {
    eval: () => ['eval', 'get_size=echo 1', 'pread=exit 1', 'get_ready=exit 4'],
    python: (t: TestContext) => {
      const file = join(temporary(t), 'script.py')
      writeFileSync(file, `${scripts.python('/dev/null', false)}def get_ready(): nbdkit.shutdown()\n`)
      return ['python', file]
    },
  }
  for (const [name, words] of Object.entries(early))
    it(`S2 in ${name}: it never listens, and ends well`, async (t) => {
      const socket = join(temporary(t), 'socket')
      const { ended } = await run('-f', '-U', socket, ...words(t))
      assert.deepEqual(await ended(), { status: 0, stderr: '' })
      assert.ok(!existsSync(socket))
    })
})

it(
  'S9 a script of Python that never ends is given up by name, and its process ends',
  needs('nbdsh'),
  async (t) => {
    const directory = temporary(t)
    const [socket, file, pidFile] = ['socket', 'script.py', 'pid'].map((name) => join(directory, name)) as [
      string,
      string,
      string,
    ]
    const loop = `\ndef pread(h, buf, offset, flags):\n    import os\n    with io.open("${pidFile}", "w") as f: f.write(str(os.getpid()))\n    while True: pass\n`
    writeFileSync(file, scripts.python('/dev/null', false) + loop)
    const { child, ended } = await run('-f', '-U', socket, '--shutdown-timeout=100ms', 'python', file)
    await until(() => existsSync(socket))
    const client = spawn(
      findProgram('nbdsh') ?? '',
      ['-u', `nbd+unix:///?socket=${socket}`, '-c', 'h.pread(512, 0)'],
      {
        env: { ...process.env, PATH: `/usr/bin:${process.env.PATH ?? ''}` },
        stdio: 'ignore',
      },
    )
    await until(() => existsSync(pidFile) && readFileSync(pidFile, 'utf8') !== '')
    child.kill('SIGTERM')
    const { status, stderr } = await ended()
    assert.equal(status, 1)
    assert.match(
      stderr,
      /python: read was called [\d.]+ s ago and has not ended: the server stops without it/,
    )
    const state = () =>
      spawnSync('ps', ['-o', 'stat=', '-p', readFileSync(pidFile, 'utf8')], { encoding: 'utf8' }).stdout
    for (let waits = 0; /^[^Z]/.test(state()); waits++) {
      assert.ok(waits < 500, 'it still runs')
      await sleep(10)
    }
    client.kill()
  },
)

const passwords = `#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>
#include <stdio.h>
#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL
static void *d_open (int readonly) { return NBDKIT_HANDLE_NOT_NEEDED; }
static int64_t d_size (void *h) { return 512; }
static int d_pread (void *h, void *b, uint32_t c, uint64_t o, uint32_t f) { return -1; }
static int d_config (const char *key, const char *value)
{
  char *password = (char *) value;
  if (key[0] == 'p' && nbdkit_read_password (value, &password) == -1) return -1;
  fprintf (stderr, "%s is %s\\n", key, password);
  return 0;
}
static struct nbdkit_plugin plugin = { .name = "d", .open = d_open, .config = d_config, .get_size = d_size,
  .pread = d_pread };
NBDKIT_REGISTER_PLUGIN (plugin)
`

it(
  'a native plugin reads passwords from any descriptor that was inherited, and negative numbers as they are',
  needs('cc'),
  async (t) => {
    const directory = temporary(t)
    const [file, plugin, one, two] = ['d.c', 'd.so', 'one', 'two'].map((name) => join(directory, name)) as [
      string,
      string,
      string,
      string,
    ]
    writeFileSync(file, passwords)
    writeFileSync(one, 'secret\n')
    writeFileSync(two, 'another\n')
    execFileSync('cc', ['-shared', '-fPIC', '-o', plugin, file])
    const words = [plugin, 'p1=-3', 'p2=-5', 'n=-60', 'm=-4', '--run', 'true']
    const stdio = ['ignore', 'pipe', 'pipe', openSync(one, 'r'), 'ignore', openSync(two, 'r')] as const
    const { stderr } = spawnSync(process.execPath, [program, ...words], {
      stdio: [...stdio],
      encoding: 'utf8',
    })
    assert.equal(stderr, 'p1 is secret\np2 is another\nn is -60\nm is -4\n')
    const { stderr: refusal } = spawnSync(process.execPath, [program, plugin, 'p=-60'], { encoding: 'utf8' })
    assert.match(refusal, /^nbdkit-ts: .*d.so: config: cannot open file descriptor 60 for the password/)
  },
)

it('a plugin in the background keeps nobody waiting for the end of the output, and prints until then', async (t) => {
  const directory = temporary(t)
  const [file, socket, pidFile] = ['script.py', 'socket', 'pid'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ]
  const prints = 'print("hello", flush=True)\n__import__("sys").stderr.write("hi\\n")\n'
  writeFileSync(file, scripts.python('/dev/null', false) + prints)
  // It ends when all who have the other end of these pipes have closed it.
  const ended = await (await run('-U', socket, '-P', pidFile, 'python', file)).ended()
  process.kill(Number(readFileSync(pidFile, 'utf8')))
  assert.deepEqual(ended, { status: 0, stderr: 'hi\n' })
})
