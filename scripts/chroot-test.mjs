/**
 * Tests the last commit in a root file system of another Debian. Run it by hand, as root on Debian:
 *
 *     node scripts/chroot-test.mjs [--suite=trixie] [--root=FOLDER] [--node=FOLDER] [COMMAND]
 *
 * A shell runs the command in a fresh clone there. It defaults to `npm ci && npm test`. debootstrap makes the
 * root file system the first time, and it is kept. Node and npm come from the suite, or from a folder
 * unpacked from nodejs.org, for a suite whose own Node is too old for us.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { installPackages } from './clients.mjs'

const checkout = dirname(dirname(fileURLToPath(import.meta.url)))
const say = (message) => console.log(`# ${message}`)

const { values, positionals } = parseArgs({
  options: {
    suite: { type: 'string', default: 'trixie' },
    root: { type: 'string' },
    node: { type: 'string' },
  },
  allowPositionals: true,
})
const { suite, node } = values
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'nbdkit-ts')
const root = values.root ?? join(cache, suite)
const command = positionals.join(' ') || 'npm ci && npm test'

if (process.getuid?.() !== 0 || !existsSync('/etc/debian_version')) {
  say(
    'this has to be run as root on Debian: it installs debootstrap, mounts file systems and changes the root',
  )
  process.exitCode = 1
} else {
  makeRoot()
  clone()
  process.exitCode = test()
}

/** Makes the base system, with the packages that no test installs by itself. */
function makeRoot() {
  const finished = '/etc/nbdkit-ts-finished'
  if (!existsSync(join(root, finished))) {
    if (existsSync(root) && readdirSync(root).length > 0)
      throw new Error(
        `${root} is no root file system that was finished here: remove it, or name another folder`,
      )
    installPackages({ debootstrap: ['debootstrap'] }, 'No root file system can be made.', say)
    say(`making a root file system of ${suite} in ${root}, once`)
    mkdirSync(root, { recursive: true })
    must('debootstrap', '--variant=minbase', suite, root)
    trustTheSame()
    const packages = ['ca-certificates', 'git', ...(node ? [] : ['nodejs', 'npm'])]
    const apt = 'apt-get --quiet --quiet --yes --no-install-recommends'
    const steps = [`${apt} update`, `${apt} install ${packages.join(' ')}`, 'update-ca-certificates']
    must(...inside([...steps, `touch ${finished}`].join(' && ')))
  }
  if (node) copyNode()
}

/** Copies certificate authorities that the administrator added here: a proxy for downloads may need them. */
function trustTheSame() {
  const added = '/usr/local/share/ca-certificates'
  if (existsSync(added)) cpSync(added, join(root, added), { recursive: true })
}

function copyNode() {
  const [bin, modules] = [join(root, 'usr/local/bin'), join(root, 'usr/local/lib/node_modules')]
  cpSync(realpathSync(join(node, 'bin', 'node')), join(bin, 'node'))
  cpSync(join(node, 'lib/node_modules/npm'), join(modules, 'npm'), { recursive: true })
  for (const name of ['npm', 'npx']) {
    rmSync(join(bin, name), { force: true })
    symlinkSync(`../lib/node_modules/npm/bin/${name}-cli.js`, join(bin, name))
  }
}

function clone() {
  const target = join(root, 'root', 'nbdkit-ts')
  rmSync(target, { recursive: true, force: true })
  must('git', 'clone', '--quiet', '--no-hardlinks', checkout, target)
  const dirty = spawnSync('git', ['status', '--porcelain'], { cwd: checkout, encoding: 'utf8' }).stdout
  if (dirty) say('what is not committed is not tested')
}

/** Returns the status of the command. */
function test() {
  say(`${command}, in ${root}`)
  const [program, ...args] = inside(`cd /root/nbdkit-ts && ${command}`)
  return spawnSync(program, args, { stdio: ['ignore', 'inherit', 'inherit'] }).status ?? 1
}

/**
 * A shell in the root file system, in its own namespaces: its mounts and all its processes are gone when it
 * ends.
 */
function inside(shellCommand) {
  const mounts = [
    `mount -t proc proc "$root/proc"`,
    `mount -t sysfs sys "$root/sys"`,
    `mount --rbind /dev "$root/dev"`,
    `mount -t tmpfs tmp "$root/dev/shm"`,
    `cp -L /etc/resolv.conf "$root/etc/resolv.conf"`,
  ]
  const environment = {
    HOME: '/root',
    PATH: '/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin',
    LC_ALL: 'C.UTF-8',
    DEBIAN_FRONTEND: 'noninteractive',
    NODE_EXTRA_CA_CERTS: '/etc/ssl/certs/ca-certificates.crt',
    ...Object.fromEntries(
      Object.entries(process.env).filter(([name]) => /^(CI|(https?|no)_proxy)$/i.test(name)),
    ),
  }
  const assignments = Object.entries(environment).map(([name, value]) => `${name}=${value}`)
  const script = `set -e; root=$1; shift; ${mounts.join('; ')}; exec chroot "$root" /usr/bin/env -i "$@"`
  return [
    ...['unshare', '--mount', '--propagation=private', '--pid', '--fork', '--kill-child'],
    ...['sh', '-c', script, 'sh', root, ...assignments, 'sh', '-c', shellCommand],
  ]
}

function must(program, ...args) {
  const { status, error } = spawnSync(program, args, { stdio: ['ignore', 'inherit', 'inherit'] })
  if (error) throw error
  if (status !== 0) throw new Error(`${program} ended with status ${status}`)
}
