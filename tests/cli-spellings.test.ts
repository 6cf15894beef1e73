/** Words of nbdkit's command line that have a place here, in all of their spellings. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { it } from 'node:test'
import { silentLog } from '../src/api/log.js'
import { resolveValues } from '../src/api/params.js'
import type { FilterDefinition, PluginDefinition } from '../src/api/plugin.js'
import { configure } from '../src/chain/configure.js'
import { noConnection, noServer } from '../src/chain/setup.js'
import { parseOptions } from '../src/cli/options/parse-options.js'
import { filters } from '../src/filters/catalog.js'
import { plugins } from '../src/plugins/catalog.js'

async function definitionOf<D>(load: (() => Promise<{ readonly default: unknown }>) | undefined): Promise<D> {
  const module = (await load?.()) as { readonly default: { readonly definition: D } }
  return module.default.definition
}

/** Of each layer: what stands for the same. */
const same: Readonly<Record<string, readonly string[]>> = {
  delay: [
    'rdelay=1 delay-read=1 delay-reads=1',
    'wdelay=1',
    'delay-write=1 delay-writes=1',
    'delay-zero=1 delay-zeroes=1',
    'delay-trim=1 delay-trims=1 delay-discard=1 delay-discards=1',
    'delay-extent=1 delay-extents=1',
    'delay-cache=1',
    'delay-open=1',
    'delay-close=1',
    'delay-fast-zero=1 delay-fast-zero=TRUE delay-fast-zero=t delay-fast-zero=Yes delay-fast-zero=y',
  ],
  exitwhen: [
    `exit-when-process-exits=${process.pid} exit-when-pid-exits=${process.pid}`,
    'exit-when-pipe-closed=0 exit-when-fd-closed=0',
  ],
  fua: ['fuamode=none', 'flush-on-close=1 flush_on_close=1'],
  'multi-conn': [
    'multi-conn-track-dirty=connection multi-conn-track-dirty=conn',
    'multi-conn-exportname=1 multi-conn-export-name=1',
  ],
  nocache: [
    'cachemode=nop cachemode=no-op cache-mode=nop cache-mode=no-op',
    'cachemode=none cache-mode=none',
  ],
  noparallel: [
    'serialize=all-requests serialize=all_requests serialise=all-requests serialise=all_requests',
    'serialize=requests serialise=requests',
    'serialize=connections serialise=connections',
  ],
  nozero: ['zeromode=notrim zero-mode=notrim', 'fastzeromode=slow fast-zero-mode=slow'],
  'time-limit': ['time-limit=10 time_limit=10 timelimit=10 timelimit=10s time-limit=10000ms'],
  file: ['dir=/ directory=/'],
  info: [
    'mode=exportname mode=export-name exportname EXPORT-NAME mode=ExportName',
    'base64exportname base64-export-name mode=BASE64EXPORTNAME',
    'time mode=TIME',
  ],
  pattern: ['upper=random', 'upper=0x10 upper=16 upper=020'],
}
for (const [name, groups] of Object.entries(same))
  it(`${name} takes every spelling of its parameters, and each is the same`, async () => {
    const isFilter = Object.hasOwn(filters, name)
    const plugin = await definitionOf<PluginDefinition>(plugins[isFilter ? 'null' : name])
    const above = isFilter ? [await definitionOf<FilterDefinition>(filters[name])] : []
    const valuesOf = (word: string) => {
      const configured = configure(plugin, above, [word])
      const { definition, inputs } = configured.filters[0] ?? configured.plugin
      const required = name === 'pattern' ? { size: '8' } : {}
      return resolveValues(definition.name, definition.params, { ...required, ...inputs })
    }
    for (const group of groups) {
      const [first = '', ...others] = group.split(' ')
      for (const other of others) assert.deepEqual(valuesOf(other), valuesOf(first), other)
    }
  })

it('the program takes every spelling of its options, and each is the same', () => {
  const groups = [
    ['--keepalive', '--keep-alive'],
    ['--timeout=5', '--time-out=5', '--timeout=5s', '--time-out=5000ms'],
    ['--print-uri', '--print-url', '--show-uri', '--show-url'],
    ['--pidfile=x', '--pid-file=x', '-Px'],
    ['--no-fork', '--foreground', '-f'],
    ['--stdin', '--single', '-s'],
    ['--read-only', '--readonly', '-r'],
    ['--export=x', '--exportname=x', '--export-name=x', '-ex'],
    ['--ip-addr=::1', '--ipaddr=::1', '-i::1'],
    ['--old-style', '--oldstyle', '-o'],
    ['--new-style', '--newstyle', '-n'],
    ['--no-mc', '--no-meta-contexts'],
    ['--no-sr', '--no-structured-replies'],
  ]
  for (const [first = '', ...others] of groups)
    for (const other of others) assert.deepEqual(parseOptions([other]), parseOptions([first]), other)
})

const operations: Readonly<Record<string, string>> = {
  ...{ write: 'pwrite', flush: 'flush', trim: 'trim', zero: 'zero', extents: 'extents', cache: 'cache' },
  ...{
    close: 'close',
    rotational: 'is_rotational',
    blockSize: 'block_size',
    description: 'export_description',
  },
}
const capabilities: Readonly<Record<string, string>> = {
  ...{ write: 'can_write', flush: 'can_flush', trim: 'can_trim', extents: 'can_extents', zero: 'can_zero' },
  ...{ fastZero: 'can_fast_zero', multiConn: 'can_multi_conn', fua: 'can_fua', cache: 'can_cache' },
}
const ofInstance: Readonly<Record<string, string>> = {
  ...{ ready: 'get_ready', accept: 'preconnect', exports: 'list_exports', defaultExport: 'default_export' },
  close: 'unload',
}

it('each plugin says what its devices have, and nothing else', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'has-'))
  t.after(() => rmSync(directory, { recursive: true }))
  writeFileSync(join(directory, 'disk'), 'x'.repeat(512))
  const given: Readonly<Record<string, readonly Record<string, string>[]>> = {
    data: [{ data: '1' }],
    example2: [{ file: join(directory, 'disk') }],
    file: [{ file: join(directory, 'disk') }, { dir: directory }],
  }
  const others = ['eval', 'native', 'python', 'sh']
  for (const name of Object.keys(plugins).filter((name) => !others.includes(name))) {
    const definition = await definitionOf<PluginDefinition>(plugins[name])
    const needsSize = definition.params.size?.required ? { size: '512' } : {}
    const found = new Set<string>()
    for (const inputs of given[name] ?? [needsSize]) {
      const values = resolveValues(name, definition.params, inputs)
      const instance = await definition.setup(values, { ...noServer, log: silentLog })
      const request = { exportName: '', readOnly: false, tls: false, connection: noConnection }
      const device = await instance.open({ ...request, exportName: 'dir' in inputs ? 'disk' : '' })
      for (const key of Object.keys(instance)) if (ofInstance[key]) found.add(ofInstance[key])
      for (const key of Object.keys(device)) if (operations[key]) found.add(operations[key])
      for (const key of Object.keys(device.can ?? {})) if (capabilities[key]) found.add(capabilities[key])
      await device.close?.()
      await instance.close?.()
    }
    assert.deepEqual([...(definition.commandLine?.has ?? [])].toSorted(), [...found].toSorted(), name)
  }
})
