/**
 * Finds a qemu that speaks extended headers (8.2 and later). Where the system's own is older, as on Debian
 * 12, one is unpacked once from Debian's backports into a folder of the user. The installed qemu and the
 * system are not changed.
 */
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { basename, delimiter, dirname, join } from 'node:path'
import { aptGet } from './apt.mjs'

const tools = ['qemu-img', 'qemu-io', 'qemu-nbd']
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'nbdkit-ts')

/**
 * Returns the folder with qemu-img, qemu-io and qemu-nbd.
 *
 * @param {(message: string) => void} say reports long steps.
 * @throws Error that says why there is none.
 */
export function qemuWithExtendedHeaders(say) {
  const installed = folderOfInstalled()
  if (installed !== undefined && isNew(installed)) return installed
  const bin = join(cache, 'qemu', 'bin')
  if (isNew(bin)) return bin
  if (!existsSync('/etc/debian_version'))
    throw new Error('a qemu of 8.2 or later is looked for on Debian only')
  if (installed === undefined && isNewEnough(run('apt-cache', ['show', '--no-all-versions', 'qemu-utils'])))
    throw new Error(
      'qemu-utils is missing: that of this system speaks extended headers, others are not looked for',
    )
  say(`getting a newer qemu from Debian's backports into ${dirname(bin)}, once`)
  mkdirSync(cache, { recursive: true })
  const work = mkdtempSync(join(cache, 'unpacking-'))
  try {
    const root = join(work, 'qemu')
    mkdirSync(root)
    for (const archive of download(work)) run('dpkg-deb', ['--extract', archive, join(root, 'root')])
    writeLaunchers(root)
    rmSync(dirname(bin), { recursive: true, force: true })
    renameSync(root, dirname(bin))
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
  return bin
}

function folderOfInstalled() {
  const folders = (process.env.PATH ?? '').split(delimiter)
  return folders.find((folder) => tools.every((tool) => existsSync(join(folder, tool))))
}

function isNew(folder) {
  const { stdout } = spawnSync(join(folder, 'qemu-img'), ['--version'], { encoding: 'utf8' })
  return isNewEnough(stdout ?? '')
}

/** Extended headers need 8.2. The text comes from qemu-img itself, or from Debian's package data. */
function isNewEnough(text) {
  const [, major, minor] = /version:? (?:\d+:)?(\d+)\.(\d+)/i.exec(text) ?? []
  return major !== undefined && Number(major) * 100 + Number(minor) >= 802
}

/**
 * Downloads qemu-utils and its dependencies that are not installed. apt gets copies of its own configuration,
 * with the suite added, and of its own lists, which saves most of the download.
 */
function download(work) {
  const codename = /^VERSION_CODENAME=(.*)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1]
  if (!codename) throw new Error('/etc/os-release names no VERSION_CODENAME')
  const suite = `${codename}-backports`
  const [etc, lists, archives] = ['etc', 'lists', 'archives'].map((name) => join(work, name))
  for (const directory of [etc, join(lists, 'partial'), join(archives, 'partial')])
    mkdirSync(directory, { recursive: true })
  for (const path of configuredSources()) cpSync(path, join(etc, basename(path)), { dereference: true })
  writeFileSync(join(etc, 'nbdkit-ts-backports.list'), `deb ${mirrorOf(codename)} ${suite} main\n`)
  copyLists(lists)
  const options = [
    ['Dir::Etc::sourcelist', '/dev/null'],
    ['Dir::Etc::sourceparts', etc],
    ['Dir::State::lists', lists],
    ['Dir::Cache::archives', archives],
    ['Dir::Cache::pkgcache', ''],
    ['Dir::Cache::srcpkgcache', ''],
    ['APT::Sandbox::User', ''],
    ['Debug::NoLocking', 'true'],
  ].flatMap(([name, value]) => ['-o', `${name}=${value}`])
  aptGet([...options, 'update'])
  aptGet([
    ...options,
    '--download-only',
    '--no-install-recommends',
    `--target-release=${suite}`,
    'install',
    'qemu-utils',
  ])
  const found = readdirSync(archives).filter((name) => name.endsWith('.deb'))
  if (!found.some((name) => name.startsWith('qemu-utils_')))
    throw new Error(`${suite} has no newer qemu-utils: apt downloaded ${found.join(', ') || 'nothing'}`)
  return found.map((name) => join(archives, name))
}

function configuredSources() {
  const parts = '/etc/apt/sources.list.d'
  const names = existsSync(parts) ? readdirSync(parts).filter((name) => /\.(list|sources)$/.test(name)) : []
  return ['/etc/apt/sources.list', ...names.map((name) => join(parts, name))].filter((path) =>
    existsSync(path),
  )
}

/** The mirror of the machine's own packages, which also has the backports. */
function mirrorOf(codename) {
  const format = '$(CODENAME) $(RELEASE) $(COMPONENT) $(REPO_URI)'
  const targets = run('apt-get', ['indextargets', '--format', format]).split('\n')
  const fields = targets.map((line) => line.split(' '))
  const uri = fields.find(([name, release, component]) => {
    return [name, release].includes(codename) && component === 'main'
  })?.[3]
  if (!uri) throw new Error(`apt has no source for ${codename} main`)
  return uri
}

function copyLists(target) {
  const lists = '/var/lib/apt/lists'
  if (!existsSync(lists)) return
  for (const { name } of readdirSync(lists, { withFileTypes: true }).filter((entry) => entry.isFile()))
    if (name !== 'lock') cpSync(join(lists, name), join(target, name), { preserveTimestamps: true })
}

/** Writes launchers that use the unpacked libraries, for these programs only. */
function writeLaunchers(root) {
  mkdirSync(join(root, 'bin'))
  const libraries = readdirSync(join(root, 'root'), { recursive: true, withFileTypes: true })
    .filter(({ name, parentPath }) => /\.so(\.|$)/.test(name) && basename(parentPath) !== 'qemu')
    .map(({ parentPath }) => parentPath.slice(root.length + 1))
  const folders = [...new Set(libraries)].map((folder) => `$here/${folder}`).join(':')
  for (const tool of tools) {
    const launcher = join(root, 'bin', tool)
    const lines = [
      '#!/bin/sh',
      'here=$(dirname "$(dirname "$(readlink -f "$0")")")',
      `LD_LIBRARY_PATH="${folders}" exec "$here/root/usr/bin/${tool}" "$@"`,
    ]
    writeFileSync(launcher, `${lines.join('\n')}\n`)
    chmodSync(launcher, 0o755)
    run(launcher, ['--version'])
  }
}

function run(command, args) {
  const { status, error, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 2 ** 26 })
  if (error) throw error
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with status ${status}:\n${stderr}`)
  return stdout
}
