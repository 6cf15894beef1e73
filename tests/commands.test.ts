/** The commands of nbdkit's manual that examples/commands.txt lists, each run as it stands there. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'nbdkit-ts-commands-'))
writeFileSync(join(folder, 'disk.img'), '')
truncateSync(join(folder, 'disk.img'), 4 * 2 ** 20)
after(() => rmSync(folder, { recursive: true }))

const commands = readFileSync(join(root, 'examples/commands.txt'), 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('nbdkit-ts '))

test('there are ten commands at least', () => assert.ok(commands.length >= 10))

for (const command of commands) {
  // Those that serve would go on for ever: the command of --run ends them once clients can connect.
  const serves = !/ --(help|version|dump-\w+)/.test(command)
  test(`${command} ${serves ? 'serves' : 'tells'}`, () => {
    const line = serves ? `${command} -U - --run 'echo "$uri"'` : command
    const { status, stdout, stderr } = spawnSync(
      '/bin/sh',
      ['-c', line.replace(/^nbdkit-ts/, '"$program"')],
      {
        cwd: folder,
        env: { ...process.env, program: join(root, 'bin/nbdkit-ts') },
        encoding: 'utf8',
        timeout: 30_000,
      },
    )
    assert.equal(status, 0, stderr)
    assert.match(stdout, serves ? /^nbd\+unix:\/\// : /\S/)
  })
}
