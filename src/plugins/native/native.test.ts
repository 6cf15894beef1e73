import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Setting } from '../../api/params.js'
import type { OpenRequest, ServerContext } from '../../api/plugin.js'
import { inProcess, type ProcessContext } from '../../api/process-context.js'
import { noConnection, noServer } from '../../chain/setup.js'
import { NBD_CMD_READ, NBD_EIO } from '../../protocol/constants.js'
import { createServer } from '../../server/server.js'
import { connectTo, keptLog } from '../../testing/connect.js'
import { deviceContract, openDevice, type RawClient, readBytes } from '../../testing/index.js'
import native from './native.js'

const header = '/usr/include/nbdkit-plugin.h'
const hasCompiler = existsSync('/usr/bin/cc') && existsSync(header)
const skip =
  hasCompiler || process.env.CI === 'true' ? false : `needs cc and ${header} (Debian: nbdkit-plugin-dev)`

const directory = mkdtempSync(join(tmpdir(), 'nbdkit-ts-native-'))
process.once('exit', () => rmSync(directory, { recursive: true, force: true }))

interface Source {
  readonly version?: 1 | 2
  readonly model?: string
  /** C code before the struct. */
  readonly code?: string
  /** Members of the struct beyond those of a disk. */
  readonly members?: string
  /** Replaces NBDKIT_REGISTER_PLUGIN. */
  readonly register?: string
}

/** Compiles a disk of 64 KiB in memory, with the test's additions. Returns the path. */
function compile({ version = 2, model = 'SERIALIZE_ALL_REQUESTS', ...more }: Source = {}): string {
  const flags = version === 2 ? ', uint32_t flags' : ''
  const source = `
#define NBDKIT_API_VERSION ${version}
#include <nbdkit-plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <errno.h>
#define THREAD_MODEL NBDKIT_THREAD_MODEL_${model}
extern void nbdkit_disconnect (int force);
extern int nbdkit_parse_probability (const char *what, const char *str, double *r);
extern void nbdkit_debug_hexdump (const void *buf, size_t len, const char *prefix, uint64_t start);
extern int nbdkit_parse_delay (const char *what, const char *str, unsigned *sec, unsigned *nsec);
static char disk[65536];
static void *disk_open (int readonly) { return NBDKIT_HANDLE_NOT_NEEDED; }
static int64_t disk_get_size (void *h) { return sizeof disk; }
#ifndef NO_PREAD
static int disk_pread (void *h, void *buf, uint32_t count, uint64_t offset${flags})
{ memcpy (buf, disk + offset, count); return 0; }
#endif
static int disk_pwrite (void *h, const void *buf, uint32_t count, uint64_t offset${flags})
{ memcpy (disk + offset, buf, count); return 0; }
${more.code ?? ''}
static struct nbdkit_plugin plugin = {
  .name = "test", .open = disk_open, .get_size = disk_get_size,
  .pread = disk_pread, .pwrite = disk_pwrite, ${more.members ?? ''}
};
${more.register ?? 'NBDKIT_REGISTER_PLUGIN (plugin)'}
`
  const name = createHash('sha256').update(source).digest('hex').slice(0, 16)
  const [file, output] = [join(directory, `${name}.c`), join(directory, `${name}.so`)]
  if (!existsSync(output)) {
    writeFileSync(file, source)
    execFileSync('cc', ['-shared', '-fPIC', '-o', output, file], { stdio: ['ignore', 'ignore', 'inherit'] })
  }
  return output
}

const request: OpenRequest = { exportName: 'one', readOnly: false, tls: false, connection: noConnection }

async function setUp(
  plugin: string,
  settings: readonly Setting[] = [],
  more: Partial<ServerContext> = {},
  process: Partial<ProcessContext> = {},
) {
  const { log, errors, debugs } = keptLog()
  const values = { plugin, settings, restart: false }
  const instance = await native.definition.setup(values, inProcess({ ...noServer, log, ...more }, process))
  return { instance, errors, debugs }
}

test('native serves a plugin of API version 2', { skip }, async () => {
  const device = await openDevice(native({ plugin: compile() }))
  assert.equal(device.size, 65536)
  const { write, flush, trim, zero, fua } = device.can
  assert.deepEqual(
    { write, flush, trim, zero, fua },
    {
      ...{ write: true, flush: false, trim: false },
      ...{ zero: 'emulate', fua: 'none' },
    },
  )
  await deviceContract(device)
  await device.close()
})

test('native serves a plugin of API version 1', { skip }, async () => {
  const code = `static int disk_flush (void *h) { return 0; }
static int disk_zero (void *h, uint32_t count, uint64_t offset, int may_trim)
{ if (!may_trim) { errno = EOPNOTSUPP; return -1; } memset (disk + offset, 0, count); return 0; }`
  const members = '.flush = disk_flush, .zero = disk_zero, .errno_is_preserved = 1,'
  const device = await openDevice(native({ plugin: compile({ version: 1, code, members }) }))
  const { flush, fua, zero } = device.can
  assert.deepEqual({ flush, fua, zero }, { flush: true, fua: 'emulate', zero: 'native' })
  // Where the plugin cannot zero, zeroes are written.
  await deviceContract(device)
  await device.close()
})

test('native serves plugins whose struct is older and shorter, or newer and longer', { skip }, async () => {
  const register = (size: string, pad: string) => `
struct other { struct nbdkit_plugin plugin; char more[512]; };
struct nbdkit_plugin *plugin_init (void)
{
  static struct other other;
  other.plugin = plugin;
  memset ((char *) &other + ${size}, ${pad}, sizeof other - ${size});
  other.plugin._struct_size = ${size === 'sizeof plugin' ? 'sizeof other' : size};
  other.plugin._api_version = 2;
  other.plugin._thread_model = THREAD_MODEL;
  return &other.plugin;
}`
  // The bytes behind the older struct must not be taken for functions.
  for (const size of ['offsetof (struct nbdkit_plugin, magic_config_key)', 'sizeof plugin']) {
    const device = await openDevice(
      native({ plugin: compile({ register: register(size, '0xff'), code: '#include <stddef.h>' }) }),
    )
    await deviceContract(device, { steps: 50 })
    await device.close()
  }
})

test('native calls a parallel plugin from several threads, and any other from one', { skip }, async () => {
  const code = `#include <pthread.h>
static pthread_barrier_t both;
static void disk_load (void) { pthread_barrier_init (&both, NULL, 2); }
static int disk_cache (void *h, uint32_t count, uint64_t offset, uint32_t flags)
{ pthread_barrier_wait (&both); return 0; }
static int disk_flush (void *h, uint32_t flags)
{ static int inside; int alone = inside++ == 0; usleep (20000); inside--; return alone ? 0 : -1; }`
  const members = '.load = disk_load, .cache = disk_cache, .flush = disk_flush,'
  const parallel = await openDevice(native({ plugin: compile({ code, members, model: 'PARALLEL' }) }))
  await deviceContract(parallel)
  // Neither ends without the other.
  await Promise.all([parallel.cache(0, 512), parallel.cache(0, 512)])
  await parallel.close()
  for (const model of ['SERIALIZE_ALL_REQUESTS', 'SERIALIZE_CONNECTIONS']) {
    const one = await openDevice(native({ plugin: compile({ code, members, model }) }))
    await Promise.all([one.flush(), one.flush(), one.flush()])
    await one.close()
  }
})

test('native keeps a slow request from no other of a parallel plugin', { skip }, async () => {
  const code = `static int disk_flush (void *h, uint32_t flags) { return nbdkit_nanosleep (1000, 0); }`
  const { instance } = await setUp(compile({ code, members: '.flush = disk_flush,', model: 'PARALLEL' }))
  const drop = new AbortController()
  const slow = await instance.open({ ...request, connection: { ...noConnection, signal: drop.signal } })
  const flushes = Array.from({ length: 20 }, () => Promise.resolve(slow.flush?.()))
  const data = await slow.read(0, 512, (length) => Buffer.alloc(length))
  assert.ok(data)
  drop.abort()
  const ends = await Promise.allSettled(flushes)
  assert.ok(ends.every((end) => end.status === 'rejected' && end.reason.code === 'ESHUTDOWN'))
  await slow.close?.()
  await instance.close?.()
})

test('native wakes a plugin that sleeps when its client is dropped, and when the server stops', {
  skip,
}, async () => {
  const code = `static int disk_flush (void *h, uint32_t flags) { return nbdkit_nanosleep (1000, 0); }`
  const [stop, drop] = [new AbortController(), new AbortController()]
  const plugin = compile({ code, members: '.flush = disk_flush,' })
  const { instance } = await setUp(plugin, [], { stopping: stop.signal })
  const one = await instance.open({ ...request, connection: { ...noConnection, signal: drop.signal } })
  const two = await instance.open(request)
  const dropped = Promise.resolve(one.flush?.())
  drop.abort()
  await assert.rejects(dropped, { code: 'ESHUTDOWN' })
  const stopped = Promise.resolve(two.flush?.())
  stop.abort()
  await assert.rejects(stopped, { code: 'ESHUTDOWN' })
  await instance.close?.()
})

test('native wakes a plugin that sleeps for a client which leaves before its export is open', {
  skip,
}, async () => {
  const code = `static int wait_for_it (void) { return nbdkit_nanosleep (1000, 0); }
static int disk_preconnect (int readonly) { return wait_for_it (); }
static void *slow_open (int readonly) { return wait_for_it () == 0 ? NBDKIT_HANDLE_NOT_NEEDED : NULL; }
static int disk_list_exports (int readonly, int tls, struct nbdkit_exports *exports)
{ return wait_for_it (); }
#define disk_open slow_open`
  const members = '.preconnect = disk_preconnect, .list_exports = disk_list_exports,'
  for (const model of ['SERIALIZE_ALL_REQUESTS', 'PARALLEL']) {
    const { instance } = await setUp(compile({ code, members, model }))
    const left = new AbortController()
    const connection = { ...noConnection, signal: left.signal }
    const calls = [
      (async () => instance.accept?.(connection))(),
      (async () => instance.open({ ...request, connection }))(),
      (async () => instance.exports?.({ ...request, connection }))(),
    ]
    left.abort()
    const ends = await Promise.allSettled(calls)
    assert.ok(
      ends.every((end) => end.status === 'rejected' && end.reason.code === 'ESHUTDOWN'),
      JSON.stringify(ends),
    )
    await instance.close?.()
  }
})

const failures: [what: string, body: string, expected: { code: string; message: RegExp }][] = [
  ['without a word', 'return -1;', { code: 'EIO', message: /^pread: it failed$/ }],
  ['with a message', 'nbdkit_error ("it is %s", "bad"); return -1;', { code: 'EIO', message: /^it is bad$/ }],
  ['with an error', 'nbdkit_set_error (ENOSPC); return -1;', { code: 'ENOSPC', message: /failed/ }],
  ['with an errno that does not count', 'errno = ENOSPC; return -1;', { code: 'EIO', message: /failed/ }],
]
for (const [what, body, expected] of failures)
  test(`native tells of a request that fails ${what}, and goes on`, { skip }, async () => {
    const code = `static int bad_pread (void *h, void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{ if (offset > 0) return disk_pread (h, buf, count, offset, flags); ${body} }
#define disk_pread bad_pread`
    const device = await openDevice(native({ plugin: compile({ code }) }))
    await assert.rejects(readBytes(device, 0, 512), expected)
    assert.equal((await readBytes(device, 512, 512)).length, 512)
    await device.close()
  })

test('native gives errno to the client where the plugin says that it counts', { skip }, async () => {
  const code = 'static int disk_flush (void *h, uint32_t flags) { errno = ENOSPC; return -1; }'
  const members = '.flush = disk_flush, .errno_is_preserved = 1,'
  const device = await openDevice(native({ plugin: compile({ code, members }) }))
  await assert.rejects(async () => device.flush(), { code: 'ENOSPC' })
  await device.close()
})

test('native gives a plugin its settings, and a bare word under its magic key', { skip }, async () => {
  const code = `static int disk_config (const char *key, const char *value)
{ nbdkit_debug ("%s=%s", key, value); return 0; }
static int disk_config_complete (void) { nbdkit_debug ("complete"); return 0; }`
  const members =
    '.config = disk_config, .config_complete = disk_config_complete, .magic_config_key = "file",'
  const settings = [
    ['a', 'b c%'],
    ['a', 'ä'],
    [undefined, 'disk.img'],
  ] as const
  const { instance, debugs } = await setUp(compile({ code, members }), settings)
  await instance.close?.()
  const said = debugs.filter((text) => /=|complete/.test(text))
  assert.deepEqual(said, ['a=b c%', 'a=ä', 'file=disk.img', 'complete'])
})

test('native has the functions that a plugin may call', { skip }, async () => {
  const code = `#include <inttypes.h>
#include <sys/un.h>
static int disk_preconnect (int readonly)
{
  char *password;
  int i, r; unsigned u, n; int8_t i8; uint16_t u16; int64_t i64; uint64_t u64; double p;
  struct sockaddr_un addr; socklen_t len = sizeof addr;
  nbdkit_debug ("size %" PRIi64 " %" PRIi64, nbdkit_parse_size ("1M"), nbdkit_parse_size ("x"));
  nbdkit_debug ("bool %d %d %d", nbdkit_parse_bool ("on"), nbdkit_parse_bool ("No"), nbdkit_parse_bool ("x"));
  r = nbdkit_parse_int ("i", "-0x10", &i);
  nbdkit_debug ("int %d %d", r, i);
  r = nbdkit_parse_unsigned ("u", "017", &u);
  nbdkit_debug ("unsigned %d %u", r, u);
  r = nbdkit_parse_int8_t ("i8", "-128", &i8);
  nbdkit_debug ("int8_t %d %d", r, i8);
  nbdkit_debug ("int8_t %d", nbdkit_parse_int8_t ("i8", "128", &i8));
  nbdkit_debug ("uint16_t %d", nbdkit_parse_uint16_t ("u16", "-1", &u16));
  r = nbdkit_parse_int64_t ("i64", "-9223372036854775808", &i64);
  nbdkit_debug ("int64_t %d %" PRIi64, r, i64);
  r = nbdkit_parse_uint64_t ("u64", "18446744073709551615", &u64);
  nbdkit_debug ("uint64_t %d %" PRIu64, r, u64);
  r = nbdkit_parse_probability ("p", "1:4", &p);
  nbdkit_debug ("probability %d %g", r, p);
  r = nbdkit_parse_delay ("d", "1.5", &u, &n);
  nbdkit_debug ("delay %d %u %u", r, u, n);
  nbdkit_debug ("path %s", nbdkit_absolute_path ("x"));
  nbdkit_debug ("real %s", nbdkit_realpath ("/usr/../etc"));
  nbdkit_debug ("intern %s %s", nbdkit_strndup_intern ("abc", 2), nbdkit_printf_intern ("%d", 7));
  nbdkit_debug ("safe %d", nbdkit_stdio_safe ());
  nbdkit_debug ("peer %d %" PRIi64 " %" PRIi64 " %" PRIi64, nbdkit_peer_name ((void *) &addr, &len),
                nbdkit_peer_pid (), nbdkit_peer_uid (), nbdkit_peer_gid ());
  nbdkit_debug ("family %d", addr.sun_family == AF_UNIX);
  nbdkit_debug ("sleep %d", nbdkit_nanosleep (0, 1000));
  nbdkit_debug_hexdump ("abc", 3, "dump ", 0x12);
  if (nbdkit_read_password ("+${join(directory, 'password')}", &password) == 0)
    nbdkit_debug ("password %s", password);
  return 0;
}
static void *named_open (int readonly)
{
  nbdkit_debug ("export %s %d", nbdkit_export_name (), nbdkit_is_tls ());
  return NBDKIT_HANDLE_NOT_NEEDED;
}
#define disk_open named_open
static int disk_list_exports (int readonly, int tls, struct nbdkit_exports *exports)
{ return nbdkit_use_default_export (exports) == -1 ? -1 : nbdkit_add_export (exports, "b", "second"); }
static const char *disk_default_export (int readonly, int tls) { return "a"; }`
  writeFileSync(join(directory, 'password'), 'secret\nmore\n')
  const members = `.preconnect = disk_preconnect, .list_exports = disk_list_exports,
    .default_export = disk_default_export,`
  const { instance, debugs } = await setUp(compile({ code, members }))
  const connection = { ...noConnection, peer: { family: 'unix', pid: 5, uid: 6, gid: 7 } } as const
  await instance.accept?.(connection)
  assert.deepEqual(await instance.exports?.(request), [{ name: 'a' }, { name: 'b', description: 'second' }])
  await instance.open({ ...request, connection })
  const said = debugs.filter((text) => /^(?!load|open|close|pre)/.test(text))
  for (const line of [
    ...['size 1048576 -1', 'bool 1 0 -1', 'int 0 -16', 'unsigned 0 15', 'int8_t 0 -128', 'int8_t -1'],
    ...['uint16_t -1', 'int64_t 0 -9223372036854775808', 'uint64_t 0 18446744073709551615'],
    ...['probability 0 0.25', 'delay 0 1 500000000', `path ${join(process.cwd(), 'x')}`, 'real /etc'],
    ...['intern ab 7', 'safe 1', 'peer 0 5 6 7', 'family 1', 'sleep 0', 'export one 0'],
    ...['password secret', `dump 00000010:       61 62 63${' '.repeat(34)}|  abc           |`],
  ])
    assert.ok(said.includes(line), `${line}: ${said.join('\n')}`)
  await instance.close?.()
})

test('native reads the extents that a plugin adds', { skip }, async () => {
  const code = `static int disk_extents (void *h, uint32_t count, uint64_t offset, uint32_t flags,
                         struct nbdkit_extents *e)
{
  if (nbdkit_add_extent (e, 0, 4096, 0) == -1) return -1;
  return nbdkit_add_extent (e, 4096, 61440, NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO);
}`
  const device = await openDevice(native({ plugin: compile({ code, members: '.extents = disk_extents,' }) }))
  const [first, second] = [...(await device.extents(512, 8192))]
  assert.deepEqual(first, { length: 3584, type: 0 })
  assert.equal(second?.type, 3)
  await device.close()
})

test('native sets the debug flags of its plugin, and says which there are not', { skip }, async () => {
  const code = `NBDKIT_DLL_PUBLIC int test_debug_loud;
static void disk_load (void) { nbdkit_debug ("loud %d", test_debug_loud); }`
  const plugin = compile({ code, members: '.load = disk_load,' })
  const debugFlags = ['test.loud=3', 'test.quiet=1', 'other.flag=1']
  const { instance, debugs, errors } = await setUp(plugin, [], {}, { debugFlags })
  assert.ok(debugs.includes('loud 3'))
  assert.deepEqual(
    errors.filter((text) => text.includes('-D')).map((text) => /-D \S+/.exec(text)?.[0]),
    ['-D test.quiet', '-D other.flag'],
  )
  await instance.close?.()
})

test('native does not start what is no plugin, or refuses', { skip }, async () => {
  const text = join(directory, 'text.so')
  writeFileSync(text, 'no')
  const cut = join(directory, 'cut.so')
  writeFileSync(cut, readFileSync(compile()).subarray(0, 3000))
  const wrong: [plugin: string, message: RegExp][] = [
    ['/nowhere.so', /there is no such file/],
    [directory, /it is not a file$/],
    [text, /text.so: .*(invalid ELF header|file too short): the file is damaged.*copy or compile it again$/],
    [cut, /cut.so: it was killed by SIGBUS: where the file is cut off.*copy or compile it again$/],
    [compile({ register: '' }), /plugin_init.*give a shared object that was made for nbdkit/],
    [
      compile({
        register:
          'struct nbdkit_plugin *plugin_init (void) { plugin._api_version = 9; plugin._struct_size = sizeof plugin; return &plugin; }',
      }),
      /version/,
    ],
    [compile({ code: '#define disk_get_size NULL' }), /get_size/],
    [
      compile({
        code: 'static int no (void) { nbdkit_error ("not now"); return -1; }',
        members: '.get_ready = no,',
      }),
      /get_ready: not now/,
    ],
    [
      compile({ code: 'static void no (void) { abort (); }', members: '.load = no,' }),
      /it was killed by SIGABRT/,
    ],
    [
      compile({
        code: 'extern void nowhere (void); static void no (void) { nowhere (); }',
        members: '.load = no,',
      }),
      /undefined symbol: nowhere/,
    ],
  ]
  for (const [plugin, message] of wrong)
    await assert.rejects(openDevice(native({ plugin })), { name: 'ConfigError', message }, String(message))
})

/** A server of a plugin that crashes when read at 512. */
async function mortal(t: TestContext, restart: boolean) {
  const code = `static int bad_pread (void *h, void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{ if (offset == 512) *(volatile int *) 8 = 0; return disk_pread (h, buf, count, offset, flags); }
#define disk_pread bad_pread`
  const { log, errors } = keptLog()
  const server = createServer({ plugin: native({ plugin: compile({ code }), restart }), log })
  t.after(() => server.shutdown({ graceMs: 0 }))
  const connect = async () => (await connectTo(server)).client
  const read = async (client: RawClient, offset = 0) =>
    (await client.request({ type: NBD_CMD_READ, offset, length: 512 }))[0]?.error
  return { connect, read, errors }
}

test('native lives on when its plugin crashes, and says so', { skip }, async (t) => {
  const { connect, read, errors } = await mortal(t, false)
  const [one, two] = [await connect(), await connect()]
  assert.equal(await read(one, 512), NBD_EIO)
  assert.equal(await read(two), NBD_EIO)
  assert.ok(
    errors.some((text) => text.endsWith('.so: it was killed by SIGSEGV')),
    errors.join('\n'),
  )
  await assert.rejects(connect(), /its process has died/)
})

test('native with restart serves new clients with a new process', { skip }, async (t) => {
  const { connect, read } = await mortal(t, true)
  const one = await connect()
  assert.equal(await read(one, 512), NBD_EIO)
  assert.equal(await read(await connect()), 0)
  assert.equal(await read(one), NBD_EIO)
})

test('native prints what its plugin says of itself', { skip }, () => {
  const code = 'static void disk_dump (void) { printf ("mine=1\\n"); }'
  const members = '.dump_plugin = disk_dump, .config_help = "key=VALUE  what it is", .version = "7",'
  const plugin = compile({ code, members, model: 'PARALLEL' })
  const program = fileURLToPath(new URL('../../../../bin/nbdkit-ts', import.meta.url))
  const dump = execFileSync(program, [plugin, '--dump-plugin'], { encoding: 'utf8' }).split('\n')
  for (const line of [
    'name=test',
    'version=7',
    'api_version=2',
    'thread_model=parallel',
    'has_pwrite=1',
    'mine=1',
  ])
    assert.ok(dump.includes(line), `${line}: ${dump.join('\n')}`)
  assert.match(execFileSync(program, [plugin, '--help'], { encoding: 'utf8' }), /key=VALUE {2}what it is/)
})
