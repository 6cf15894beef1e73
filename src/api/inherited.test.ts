import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { param, resolveValues } from './params.js'

const onLinux = process.platform === 'linux' ? {} : { skip: 'only Linux lists the descriptors of a process' }
const module = new URL('inherited.js', import.meta.url).href

/** The output of a new Node process that is started with these descriptors from 3 on. */
function inNewNode(script: string, more: readonly (number | 'pipe')[] = []): unknown {
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module', '-e', `import * as inherited from ${JSON.stringify(module)}\n${script}`],
    { stdio: ['ignore', 'pipe', 'pipe', ...more], encoding: 'utf8' },
  )
  assert.equal(stderr, '')
  return JSON.parse(stdout)
}

/** Descriptors that the test runner's caller leaves open for every process: flags without close-on-exec. */
const leaked = () =>
  readdirSync('/proc/self/fd')
    .map(Number)
    .filter((fd) => {
      const info = `/proc/self/fdinfo/${fd}`
      return fd > 2 && existsSync(info) && !/^flags:\s*\d*[2367]\d{6}$/m.test(readFileSync(info, 'utf8'))
    })

const without = (fds: unknown, others: readonly number[]) =>
  (fds as number[]).filter((fd) => !others.includes(fd))

test('a Node that was given nothing finds nothing but its three, whatever it opened itself', onLinux, () => {
  const script = 'console.log(JSON.stringify(inherited.inheritedDescriptors()))'
  assert.deepEqual(without(inNewNode(script), leaked()), [0, 1, 2])
})

test('a file, a pipe and a directory that were given are found', onLinux, () => {
  const file = openSync(fileURLToPath(import.meta.url), 'r')
  const directory = openSync('/', 'r')
  try {
    const script = 'console.log(JSON.stringify(inherited.inheritedDescriptors()))'
    const found = inNewNode(script, [file, 'pipe', directory])
    assert.deepEqual(
      without(
        found,
        leaked().filter((fd) => fd > 5),
      ),
      [0, 1, 2, 3, 4, 5],
    )
  } finally {
    closeSync(file)
    closeSync(directory)
  }
})

test(
  'each open descriptor of Node itself is refused by its number, and so is one that is opened later',
  onLinux,
  () => {
    const script = `
    import fs from 'node:fs'
    inherited.rememberInherited()
    const later = fs.openSync('/', 'r')
    const open = fs.readdirSync('/proc/self/fd').map(Number).filter((fd) => fd > 2)
    console.log(JSON.stringify({ open, later, why: open.map(inherited.whyNotInherited) }))`
    const { open, later, why } = inNewNode(script) as { open: number[]; later: number; why: string[] }
    assert.ok(open.length > 3 && open.includes(later))
    const ofParent = leaked()
    for (const [index, fd] of open.entries())
      if (!ofParent.includes(fd))
        assert.match(
          why[index] ?? 'taken',
          new RegExp(`^file descriptor ${fd} (was not inherited|is not open): `),
        )
  },
)

test('a descriptor of Node itself is refused for a parameter, a negative or half number too', onLinux, () => {
  const params = { fd: param.descriptor({ min: 3, doc: '' }), password: param.password({ doc: '' }) }
  const given = (inputs: Record<string, unknown>) => resolveValues('layer', params, inputs)
  const events = 'file descriptor 2147483647 is not open: the process that starts'
  assert.throws(() => given({ fd: '2147483647' }), { message: new RegExp(`^layer: fd: ${events}`) })
  assert.throws(() => given({ password: '-2147483647' }), {
    message: new RegExp(`^layer: password: ${events}`),
  })
  for (const fd of ['', ' ', '-3', '3x', '0x', '2147483648', '0', '2'])
    assert.throws(() => given({ fd }), /^ConfigError: layer: fd: /, fd)
})
