/** The output of `--dump-config`, `--dump-plugin`, `--long-options` and `--short-options`, for scripts. */
import { createRequire } from 'node:module'
import { arch, platform } from 'node:os'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { keysOf } from '../../api/params.js'
import type { Description } from '../../api/plugin.js'
import type { Found } from '../modules/modules.js'
import { options } from '../options/options.js'
import { followed, ourPackage } from './package.js'

/** Processor names as in uname(1). */
const processors: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch64', ia32: 'i686' }

/** The keys of nbdkit-probing(1) that apply here, and a few of our own, by name. */
export function dumpConfig(): string {
  /** Relative to dist/package. */
  const path = (relative: string) => fileURLToPath(new URL(`../../${relative}`, import.meta.url))
  const [major, minor] = followed.split('.')
  const onLinux = platform() === 'linux'
  const koffi = isInstalled('koffi')
  const values: Readonly<Record<string, string | boolean | undefined>> = {
    binary: path('../../bin/nbdkit-ts'),
    bindir: path('../../bin'),
    exit_with_parent: onLinux && koffi,
    filterdir: path('filters'),
    host_cpu: processors[arch()] ?? arch(),
    host_os: onLinux ? 'linux-gnu' : platform(),
    koffi,
    libdir: dirname(path('filters')),
    mandir: path('../man'),
    max_api_version: '2',
    name: 'nbdkit-ts',
    node: process.versions.node,
    package_version: ourPackage().version,
    plugindir: path('plugins'),
    root_tls_certificates_dir: '/etc/pki/nbdkit',
    run_default_socket: 'Unix',
    sbindir: path('../../bin'),
    selinux: false,
    soext: 'so',
    sysconfdir: '/etc',
    timeout_option: true,
    tls: false,
    version: `${followed}.0`,
    version_major: major,
    version_minor: minor,
    vsock_option: false,
    zstd: false,
  }
  return Object.entries(values)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}=${typeof value === 'boolean' ? (value ? 'yes' : 'no') : value}`)
    .join('\n')
}

function isInstalled(name: string): boolean {
  try {
    createRequire(import.meta.url).resolve(name)
    return true
  } catch {
    return false
  }
}

/**
 * The facts known before a plugin is set up (nbdkit-probing(1)), then those of the filters, innermost first.
 */
export function dumpPlugin(plugin: Found, filters: readonly Found[], more?: Description): string {
  const ofFilters = filters.toReversed().flatMap(({ definition: { name, commandLine }, path }) => {
    return [`${name}_path=${path}`, `${name}_name=${name}`, ...(commandLine?.lines ?? [])]
  })
  return [...pluginLines(plugin, more), ...ofFilters].join('\n')
}

function pluginLines({ definition, path, builtIn }: Found, more?: Description): string[] {
  const { params, concurrency = 'parallel', commandLine = {} } = definition
  const { has = [], lines: always } = commandLine
  const magic = Object.entries(params).find(([, param]) => param.magic)
  const magicKey = more ? more.magicKey : magic && keysOf(...magic)[0]
  const takesKeys = Object.keys(params).length > 0
  const keyOf = (line: string) => line.replace(/=.*/s, '')
  // Facts known with parameters replace those known without.
  const better = new Set((more?.lines ?? []).map(keyOf))
  const ownLines = (always ?? []).filter((line) => !better.has(keyOf(line)))
  const said = [...ownLines, ...(more?.lines ?? [])]
  const saidKeys = new Set(said.map(keyOf))
  // Every plugin has the first three of these.
  const callbacks = [
    ...['description', 'open', 'get_size', 'pread', ...has],
    ...(takesKeys ? ['config', 'config_help'] : []),
    ...(always || commandLine.describe ? ['dump_plugin'] : []),
  ].toSorted((a, b) => order.indexOf(a) - order.indexOf(b))
  const saysWhatItHas = said.some((line) => line.startsWith('has_'))
  const lines = [
    `path=${path}`,
    `name=${more?.name ?? definition.name}`,
    ...(builtIn ? [`version=${ourPackage().version}`] : []),
    'api_version=1',
    'max_thread_model=parallel',
    // The declared model. With some values the plugin may be stricter.
    `thread_model=${(more?.concurrency ?? concurrency).replaceAll('-', '_')}`,
    ...(magicKey === undefined ? [] : [`magic_config_key=${magicKey}`]),
    ...(saysWhatItHas ? [] : ['errno_is_preserved=1', ...callbacks.map((name) => `has_${name}=1`)]),
  ]
  return [...lines.filter((line) => !saidKeys.has(keyOf(line))), ...said]
}

/** nbdkit's order. */
const order = [
  ...['longname', 'description', 'load', 'unload', 'dump_plugin', 'config', 'config_complete', 'config_help'],
  ...['thread_model', 'get_ready', 'after_fork', 'cleanup', 'preconnect', 'list_exports', 'default_export'],
  ...['open', 'close', 'export_description', 'get_size', 'block_size', 'can_write', 'can_flush'],
  ...['is_rotational', 'can_trim', 'can_zero', 'can_fast_zero', 'can_extents', 'can_fua', 'can_multi_conn'],
  ...['can_cache', 'pread', 'pwrite', 'flush', 'trim', 'zero', 'extents', 'cache'],
]

export function longOptions(): string {
  const names = options.flatMap((option) => option.names)
  return names
    .toSorted()
    .map((name) => `--${name}`)
    .join('\n')
}

/** Sorted as in nbdkit: a capital follows its small letter. */
export function shortOptions(): string {
  const letters = options.flatMap(({ short }) => short ?? [])
  const key = (letter: string) => `${letter.toLowerCase()}${letter === letter.toLowerCase() ? 0 : 1}`
  return letters
    .toSorted((a, b) => (key(a) < key(b) ? -1 : 1))
    .map((letter) => `-${letter}`)
    .join('\n')
}
