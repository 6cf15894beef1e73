/** Programs of others that we test against. */
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { aptGet } from './apt.mjs'

/** Debian keeps them in a folder for the kind of machine. */
function nbdkitPlugin(name) {
  const kind = { x64: 'x86_64', arm64: 'aarch64' }[process.arch] ?? process.arch
  return `/usr/lib/${kind}-linux-gnu/nbdkit/plugins/nbdkit-${name}-plugin.so`
}

/** The programs that tests run, by Debian package. */
const clients = {
  nbdkit: ['nbdkit'],
  'nbdkit-plugin-dev': ['/usr/include/nbdkit-plugin.h'],
  'nbdkit-plugin-python': [nbdkitPlugin('python')],
  'nbdkit-plugin-perl': [nbdkitPlugin('perl')],
  'nbdkit-plugin-lua': [nbdkitPlugin('lua')],
  'libnbd-bin': ['nbdinfo', 'nbdcopy'],
  // nbdinfo uses it to report the content of a disk.
  file: ['file'],
  'python3-libnbd': ['nbdsh'],
  'qemu-utils': ['qemu-img', 'qemu-io', 'qemu-nbd'],
  fio: ['fio'],
  'nbd-client': ['nbd-client'],
  zsh: ['zsh'],
  e2fsprogs: ['mke2fs', 'e2fsck'],
  fdisk: ['sfdisk'],
  procps: ['ps'],
  gcc: ['cc'],
  'libc6-dev': ['/usr/include/stdio.h'],
  perl: ['perl'],
  rustc: ['rustc'],
  ocaml: ['ocamlopt'],
}

/**
 * Installs missing programs where permitted: on Debian, as root. Elsewhere says what to install.
 *
 * @param {(message: string) => void} say
 * @throws Error when apt-get fails.
 */
export function installClients(say) {
  installPackages(clients, 'Tests that need them are skipped.', say)
}

/**
 * The same for other programs.
 *
 * @param {Record<string, string[]>} packages Programs by Debian package.
 * @param {string} without The consequence where they stay missing.
 * @param {(message: string) => void} say
 * @throws Error when apt-get fails.
 */
export function installPackages(packages, without, say) {
  const missing = Object.keys(packages).filter((name) => !packages[name].every(isThere))
  if (missing.length === 0) return
  if (!existsSync('/etc/debian_version') || process.getuid?.() !== 0) {
    const commands = missing.flatMap((name) => packages[name]).join(', ')
    say(`missing: ${commands}. ${without}`)
    say(`Debian has them in the packages ${missing.join(' ')}`)
    return
  }
  say(`installing ${missing.join(', ')}`)
  aptGet(['update'])
  aptGet(['--no-install-recommends', 'install', ...missing])
}

/** The administrator's programs are not in the PATH of other users, who may run them nevertheless. */
function isThere(name) {
  if (name.startsWith('/')) return existsSync(name)
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']
  return folders.some((folder) => isExecutable(join(folder, name)))
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
