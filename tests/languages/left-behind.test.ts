/** A plugin that leaves a process with its pipes open changes neither how the server ends, nor when. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { needs, output, serve, temporary } from '../interop/helpers.js'
import { packageRoot } from '../programs.js'

let last = 0
/** A sleep that no other process is called like, and that nobody waits for. */
const newSleep = () => `${process.pid}${++last}.5`

const py = (seconds: string) => `import subprocess
API_VERSION = 2
def open(readonly): return 1
def get_size(h): return 65536
def pread(h, buf, offset, flags):
    subprocess.Popen(["sleep", "${seconds}"], close_fds=False)
    buf[:] = bytes(len(buf))
`

const sh = (seconds: string) => `#!/bin/sh
case "$1" in
  get_size) echo 64k ;;
  pread) sleep ${seconds} & head -c "$3" /dev/zero ;;
  open | close | unload) sleep ${seconds} & ;;
  *) exit 2 ;;
esac
`

const coprocess = (seconds: string) => `#!/bin/sh
[ "$1" = coprocess ] || exit 2
while read -r tag method handle count offset flags; do
  case "$method" in
    get_size) printf '%s ok 3\\n64k' "$tag" ;;
    pread) sleep ${seconds} & printf '%s ok %s\\n' "$tag" "$count"; head -c "$count" /dev/zero ;;
    close) echo "$tag ok" ;;
    *) echo "$tag missing" ;;
  esac
done
`

/** The words that serve a script, which is written for them. */
function wordsOf(t: TestContext, language: string, seconds: string): string[] {
  const file = join(temporary(t), 'script')
  const scripts: Readonly<Record<string, readonly [text: string, ...words: string[]]>> = {
    Python: [py(seconds), 'python', file],
    sh: [sh(seconds), 'sh', file],
    'a coprocess': [coprocess(seconds), 'sh', file, 'coprocess=true'],
  }
  const [text = '', ...words] = scripts[language] ?? []
  writeFileSync(file, text, { mode: 0o755 })
  return words
}

function isRunning(seconds: string): boolean {
  const { stdout } = spawnSync('ps', ['-eo', 'stat=,args='], { encoding: 'utf8' })
  return stdout.split('\n').some((line) => !line.startsWith('Z') && line.endsWith(`sleep ${seconds}`))
}

async function becomes(running: boolean, seconds: string): Promise<void> {
  for (let waits = 0; isRunning(seconds) !== running; waits++) {
    assert.ok(waits < 1000, `sleep ${seconds}: ${running ? 'it does not run' : 'it still runs'}`)
    await sleep(10)
  }
}

/** Each runs a script that does not end, also without a client. */
const helpers: Readonly<Record<string, (script: string) => string[]>> = {
  'of the filter log': (script) => ['--filter=log', 'null', '1M', `logscript=${script}`],
  'of the filter exitwhen': (script) => ['--filter=exitwhen', 'null', '1M', `exit-when-script=${script}`],
  'of the plugin data': (script) => ['data', `<(${script})`],
  'of the plugin eval': (script) => ['eval', 'get_size=echo 1M', `get_ready=${script}`],
  'that the plugin eval left in the background': (script) => [
    'eval',
    'get_size=echo 1M',
    `get_ready=${script} &`,
  ],
}

describe('S13 a script ends when the server is killed', () => {
  for (const [of, words] of Object.entries(helpers))
    it(of, async (t) => {
      const seconds = newSleep()
      const socket = join(temporary(t), 'socket')
      const server = spawn(
        process.execPath,
        [join(packageRoot, 'bin', 'nbdkit-ts'), '-f', '-U', socket, ...words(`sleep ${seconds}; true`)],
        { stdio: 'ignore' },
      )
      await becomes(true, seconds)
      server.kill('SIGKILL')
      await becomes(false, seconds)
    })
})

describe('a process that is left with the pipes open', needs('nbdsh', 'python3'), () => {
  for (const language of ['Python', 'sh', 'a coprocess'])
    it(`by ${language} neither holds up a request nor the end of the server, and ends with it`, async (t) => {
      const seconds = newSleep()
      const server = await serve(t, '--shutdown-timeout=1000', ...wordsOf(t, language, seconds))
      await output('nbdsh', ['-u', server.uri, '-c', 'h.pread(512, 0); h.shutdown()'])
      assert.ok(isRunning(seconds))
      // It fails unless the status is 0. A grace of 1000 s would be noticed.
      await server.stop()
      await becomes(false, seconds)
    })
})
