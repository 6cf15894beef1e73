/** What `--dump-config`, `--dump-plugin`, `--long-options` and `--short-options` print, for scripts. */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { arch, platform } from 'node:os'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { keysOf } from '../api/params.js'
import type { Description } from '../api/plugin.js'
import type { Found } from './modules.js'
import { options } from './options.js'
import { ourPackage } from './package.js'

/** As uname(1) calls them. */
const processors: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch64', ia32: 'i686' }

/** The keys of nbdkit-probing(1), as far as they mean something here, and a few of our own, by name. */
export function dumpConfig(): string {
  const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))
  const mandir = path('../../man')
  const { version } = ourPackage()
  const [major, minor] = version.split('.')
  const onLinux = platform() === 'linux'
  const koffi = isInstalled('koffi')
  const values: Readonly<Record<string, string | boolean | undefined>> = {
    binary: path('../../../bin/nbdkit-ts'),
    bindir: path('../../../bin'),
    exit_with_parent: onLinux && koffi,
    filterdir: path('../filters'),
    host_cpu: processors[arch()] ?? arch(),
    host_os: onLinux ? 'linux-gnu' : platform(),
    koffi,
    libdir: dirname(path('../filters')),
    mandir: existsSync(mandir) ? mandir : undefined,
    name: 'nbdkit-ts',
    node: process.versions.node,
    plugindir: path('../plugins'),
    sbindir: path('../../../bin'),
    selinux: false,
    sysconfdir: '/etc',
    tls: false,
    version,
    version_major: major,
    version_minor: minor,
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

/** The keys of nbdkit-probing(1) that are known before a plugin is set up. */
export function dumpPlugin({ definition, path, builtIn }: Found, more?: Description): string {
  const { params, concurrency = 'parallel' } = definition
  const magic = Object.entries(params).find(([, param]) => param.magic)
  const magicKey = more ? more.magicKey : magic && keysOf(...magic)[0]
  const takesKeys = Object.keys(params).length > 0
  const said = [...(definition.dumpLines ?? []), ...(more?.lines ?? [])]
  const keyOf = (line: string) => line.replace(/=.*/s, '')
  const saidKeys = new Set(said.map(keyOf))
  const saysWhatItHas = said.some((line) => line.startsWith('has_'))
  const lines = [
    `path=${path}`,
    `name=${more?.name ?? definition.name}`,
    ...(builtIn ? [`version=${ourPackage().version}`] : []),
    'api_version=1',
    'max_thread_model=parallel',
    // What it says of itself: with some values it may be stricter.
    `thread_model=${(more?.concurrency ?? concurrency).replaceAll('-', '_')}`,
    ...(magicKey === undefined ? [] : [`magic_config_key=${magicKey}`]),
    ...(takesKeys && !saysWhatItHas ? ['has_config=1', 'has_config_help=1'] : []),
    // Every plugin has these.
    ...(saysWhatItHas ? [] : ['has_open=1', 'has_get_size=1', 'has_pread=1']),
  ]
  return [...lines.filter((line) => !saidKeys.has(keyOf(line))), ...said].join('\n')
}

export function longOptions(): string {
  const names = options.flatMap((option) => option.names)
  return names
    .toSorted()
    .map((name) => `--${name}`)
    .join('\n')
}

/** As nbdkit sorts them: a capital right after its letter. */
export function shortOptions(): string {
  const letters = options.flatMap(({ short }) => short ?? [])
  const key = (letter: string) => `${letter.toLowerCase()}${letter === letter.toLowerCase() ? 0 : 1}`
  return letters
    .toSorted((a, b) => (key(a) < key(b) ? -1 : 1))
    .map((letter) => `-${letter}`)
    .join('\n')
}
