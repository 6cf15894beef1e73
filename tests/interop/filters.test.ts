/** What filters make of a disk, as libnbd sees it, beside the filters of nbdkit. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import {
  needs,
  needsVersion,
  output,
  run,
  type Serving,
  serve,
  serveWithNbdkit,
  temporary,
} from './helpers.js'
import { common, parsed, withoutBlockSizes } from './nbdinfo.js'

/** Each request that a filter may treat in its own way, made whether it is offered or not. */
const script = `
import json, nbd
h = nbd.NBD()
h.set_strict_mode(0)
h.connect_uri(URI)
def outcome(request, *arguments):
    try:
        request(*arguments)
        return "done"
    except nbd.Error as error:
        return error.errno
data = b"x" * 4096
print(json.dumps({
    "write": outcome(h.pwrite, data, 0),
    "write, FUA": outcome(h.pwrite, data, 0, nbd.CMD_FLAG_FUA),
    "zero": outcome(h.zero, 512, 0),
    "zero, FUA": outcome(h.zero, 512, 0, nbd.CMD_FLAG_FUA),
    "zero, no hole": outcome(h.zero, 512, 0, nbd.CMD_FLAG_NO_HOLE),
    # Where it is not offered, it ends nbdkit by an assertion.
    "zero, fast": h.can_fast_zero() and outcome(h.zero, 512, 0, nbd.CMD_FLAG_FAST_ZERO),
    "trim": outcome(h.trim, 512, 1024),
    "trim, FUA": outcome(h.trim, 512, 2048, nbd.CMD_FLAG_FUA),
    "cache": outcome(h.cache, 512, 0),
    "flush": outcome(h.flush),
    "read": outcome(h.pread, 4096, 0),
    "bytes": h.pread(4096, 0).hex() if outcome(h.pread, 4096, 0) == "done" else None,
}))
h.shutdown()
`

interface Seen {
  readonly info: unknown
  readonly map: unknown
  readonly outcomes: unknown
}

async function look(server: Serving): Promise<Seen | 'refused'> {
  const { status, stdout } = await run('nbdinfo', ['--json', server.uri])
  if (status !== 0) return 'refused'
  // Before anything is written: how finely data is told from holes is each server's own business.
  const map = (await run('nbdinfo', ['--map', '--json', server.uri])).stdout
  const input = script.replace('URI', JSON.stringify(server.uri))
  const outcomes = JSON.parse(await output('nbdsh', ['-n', '-c', '-'], { input }))
  return { info: withoutBlockSizes(common(parsed(stdout, server))), map, outcomes }
}

const zeroModes = ['none', 'emulate', 'notrim', 'plugin']
const fastZeroModes = ['default', 'none', 'slow', 'ignore']
const filters: readonly (readonly [filter: string, ...args: string[]])[] = [
  ['nofilter'],
  ['noextents'],
  ['nocache'],
  ...['none', 'emulate', 'nop'].map((mode) => ['nocache', `cachemode=${mode}`] as const),
  ['nozero'],
  ...zeroModes.flatMap((mode) =>
    fastZeroModes.map((fast) => ['nozero', `zeromode=${mode}`, `fastzeromode=${fast}`] as const),
  ),
  // nbdkit does not take the name of its default, fuamode=none.
  ['fua'],
  ...['emulate', 'native', 'force', 'pass', 'discard'].map((mode) => ['fua', `fuamode=${mode}`] as const),
  ['noparallel'],
  ...['requests', 'all-requests', 'connections'].map((mode) => ['noparallel', `serialize=${mode}`] as const),
  ['multi-conn'],
  ...['auto', 'emulate', 'plugin', 'disable', 'unsafe'].map(
    (mode) => ['multi-conn', `multi-conn-mode=${mode}`] as const,
  ),
  ...['fast', 'connection', 'off'].map((track) => ['multi-conn', `multi-conn-track-dirty=${track}`] as const),
  ['error'],
  ['error', 'error=ENOSPC', 'error-pwrite-rate=100%', 'error-zero-rate=1'],
  ['error', 'error-rate=1', 'error-pread-rate=0', 'error-trim=EPERM', 'error-cache=ESHUTDOWN'],
  ['error', 'error-rate=1', 'error-file=/nonexistent'],
  // With 8 bits nbdkit 1.32 writes other bytes than it was given.
  ...['16', '32', '64'].map((bits) => ['swab', `swab-bits=${bits}`] as const),
  ...['truncate=512k', 'truncate=2M', 'round-up=2M', 'round-down=4M'].map(
    (size) => ['truncate', size] as const,
  ),
  ['truncate', 'truncate=1000000', 'round-up=4096', 'round-down=8192'],
  ['limit', 'limit=4'],
  ['rate', 'rate=1G'],
  ['rate', 'connection-rate=1G', 'burstiness=0.5'],
  ['retry-request', 'retry-request-delay=1'],
  ['blocksize-policy'],
  ['blocksize-policy', 'blocksize-error-policy=error'],
  ['blocksize-policy', 'blocksize-preferred=32k', 'blocksize-error-policy=allow'],
  ['blocksize-policy', 'blocksize-minimum=1k'],
  ...['allow', 'error'].map(
    (policy) =>
      [
        'blocksize-policy',
        `blocksize-error-policy=${policy}`,
        ...['blocksize-minimum=1k', 'blocksize-preferred=4k', 'blocksize-maximum=1M'],
      ] as const,
  ),
  ['tls-fallback', 'tlsreadme=hi'],
  ['protect'],
  ...['0-0x1bd', '~0x1be-', '2048-', '-', '~-', '4096-8191'].map(
    (range) => ['protect', `protect=${range}`] as const,
  ),
  ['protect', 'protect=0-511', 'protect=~0-100000', 'protect=512-1023'],
]

/** Those that nbdkit has since this version. */
const newerFilters: readonly (readonly [since: string, filter: string, ...args: string[]])[] = [
  ['1.38', 'readonly'],
  ['1.38', 'readonly', 'readonly-file=/nonexistent'],
  ['1.38', 'readonly', 'readonly-file=/'],
  ...['', 'rotational=true', 'rotational=false'].map(
    (value) => ['1.40', 'rotational', ...(value === '' ? [] : [value])] as const,
  ),
  ['1.42', 'time-limit'],
  ['1.42', 'time-limit', 'time-limit=0'],
  ['1.44', 'openonce'],
  ['1.44', 'blocksize-policy', 'blocksize-error-policy=strict-error', 'blocksize-minimum=4096'],
  ['1.46', 'count'],
]
const disks = [
  ['memory', '1M'],
  ['-r', 'memory', '1M'],
  ['pattern', '1M'],
]

describe('libnbd sees the same of us and of nbdkit through', { concurrency: 4 }, () => {
  for (const words of filters)
    test(words.join(' '), needs('nbdkit', 'nbdinfo', 'nbdsh'), (t) => compare(t, words))
  for (const [since, ...words] of newerFilters)
    test(words.join(' '), needsVersion('nbdkit', since, 'nbdinfo', 'nbdsh'), (t) => compare(t, words))
  // Over a disk without extents a fast zero ends nbdkit 1.32 by an assertion.
  test('checkwrite', needs('nbdkit', 'nbdinfo', 'nbdsh'), (t) =>
    compare(t, ['checkwrite'], disks.slice(0, 2)),
  )
})

async function compare(
  t: TestContext,
  [filter, ...args]: readonly string[],
  over: readonly (readonly string[])[] = disks,
): Promise<void> {
  for (const disk of over) {
    const all = [`--filter=${filter}`, ...disk, ...args]
    assert.deepEqual(await see(t, serve, all), await see(t, serveWithNbdkit, all), disk.join(' '))
  }
}

async function see(t: TestContext, start: typeof serve, args: readonly string[]): Promise<Seen | 'refused'> {
  const server = await start(t, ...args)
  const seen = await look(server)
  await server.stop()
  return seen
}

/** Has clients do as it is told (`a write, b flush`), each step after the one before it. */
const clients = `
import nbd
handles = {name: nbd.NBD() for name in "ab"}
for name in "ab":
    handles[name].connect_uri(URI)
steps = {
    "write": lambda h: h.pwrite(b"x" * 512, 0),
    "fua": lambda h: h.pwrite(b"x" * 512, 0, nbd.CMD_FLAG_FUA),
    "read": lambda h: h.pread(512, 0),
    "cache": lambda h: h.cache(512, 0),
    "flush": lambda h: h.flush(),
}
for step in STEPS.split(", "):
    name, action = step.split(" ")
    steps[action](handles[name])
for name in "ab":
    handles[name].shutdown()
`

const shared = [
  'b read, a write, a flush, a flush',
  'a write, b flush, a flush',
  'a flush, b read, b flush',
  'a fua, a flush',
]
const flushes: readonly (readonly [args: readonly string[], scripts: readonly string[]])[] = [
  [
    ['multi-conn-mode=emulate'],
    [
      ...shared,
      'b cache, a write, a flush, a flush',
      'a write, a flush, b read, a flush',
      'a write, a flush, b read, a write, a flush',
      'b write, a fua',
    ],
  ],
  [['multi-conn-mode=emulate', 'multi-conn-track-dirty=off'], shared.slice(2)],
  [['multi-conn-mode=plugin'], shared],
  [['multi-conn-mode=plugin', 'multi-conn-track-dirty=fast'], shared],
  [['multi-conn-mode=disable'], shared],
  [['multi-conn-mode=unsafe', 'multi-conn-track-dirty=off'], shared],
]

describe('multi-conn flushes as nbdkit does', { concurrency: 4 }, () => {
  for (const [args, scripts] of flushes)
    test(args.join(' '), needs('nbdkit', 'nbdsh'), async (t) => {
      for (const steps of scripts)
        assert.deepEqual(
          await reached(t, serve, args, steps),
          await reached(t, serveWithNbdkit, args, steps),
          steps,
        )
    })
})

/** What reached the disk, and of which client, in order. */
async function reached(
  t: TestContext,
  start: typeof serve,
  args: readonly string[],
  steps: string,
): Promise<readonly string[]> {
  const file = join(temporary(t), 'log')
  const server = await start(
    t,
    '--filter=multi-conn',
    '--filter=log',
    'memory',
    '1M',
    `logfile=${file}`,
    ...args,
  )
  const input = clients.replace('URI', JSON.stringify(server.uri)).replace('STEPS', JSON.stringify(steps))
  await output('nbdsh', ['-n', '-c', '-'], { input })
  await server.stop()
  const requests = [...readFileSync(file, 'utf8').matchAll(/connection=(\d+) (Write|Read|Cache|Flush) (.*)/g)]
  assert.notEqual(requests.length, 0)
  return requests.map(
    ([, connection, action, fields]) => `${connection} ${action}${fields?.includes('fua=1') ? ' fua' : ''}`,
  )
}
