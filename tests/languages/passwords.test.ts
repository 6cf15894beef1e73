/** `password=-` in each language: what is typed is not shown, and the terminal is as it was in the end. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { needs, output, temporary } from '../interop/helpers.js'
import { packageRoot } from '../programs.js'

/** Runs the program at a terminal, types when it asks, and tells what was shown and whether it echoes. */
const terminal = `
import json, os, pty, signal, sys, termios, time
what, *command = sys.argv[1:]
pid, fd = pty.fork()
if pid == 0: os.execv(command[0], command)
echoes = lambda: bool(termios.tcgetattr(fd)[3] & termios.ECHO)
shown = b""
def read_until(text):
    global shown
    while text not in shown:
        try: more = os.read(fd, 4096)
        except OSError: more = b""
        if not more: return False
        shown += more
    return True
asked = read_until(b"password: ")
while echoes(): time.sleep(0.01)
# Kept open, as a terminal that nobody has open forgets how it was set.
slave = os.open(os.readlink("/proc/%d/fd/0" % pid), os.O_RDWR | os.O_NOCTTY)
if what == "kill": os.kill(pid, signal.SIGKILL)
else: os.write(fd, b"\\x03" if what == "interrupt" else b"sec\\x7fcret\\n")
if what == "type": read_until(b"secret is known")
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
for _ in range(1000):
    if echoes(): break
    time.sleep(0.01)
print(json.dumps({"asked": asked, "status": status, "echoes": echoes(), "shown": shown.decode()}))
`

const c = `#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>
#include <stdio.h>
#include <string.h>
#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL
static void *d_open (int readonly) { return NBDKIT_HANDLE_NOT_NEEDED; }
static int64_t d_size (void *h) { return 512; }
static int d_pread (void *h, void *b, uint32_t c, uint64_t o, uint32_t f) { return 0; }
static int d_config (const char *key, const char *value)
{
  char *password;
  if (nbdkit_read_password (value, &password) == -1) return -1;
  fprintf (stderr, "%s\\n", strcmp (password, "secret") == 0 ? "secret is known" : "it is wrong");
  return 0;
}
static struct nbdkit_plugin plugin = { .name = "d", .open = d_open, .config = d_config, .get_size = d_size,
  .pread = d_pread };
NBDKIT_REGISTER_PLUGIN (plugin)
`

const py = `import nbdkit, sys
def open(readonly): return 1
def get_size(h): return 512
def pread(h, count, offset): return bytes(count)
def config(key, value):
    right = nbdkit.read_password(value) == b"secret"
    print("secret is known" if right else "it is wrong", file=sys.stderr)
`

const ts = `import { definePlugin, param } from 'nbdkit-ts'
export default definePlugin({
  name: 'd',
  description: 'a disk behind a password',
  params: { password: param.password({ required: true, doc: 'What opens it.' }) },
  setup({ password }) {
    console.error(password === 'secret' ? 'secret is known' : 'it is wrong')
    return { open: () => ({ size: 512, read: (_, length) => new Uint8Array(length) }) }
  },
})
`

/** The words that serve the plugin of a language. */
function wordsOf(t: TestContext, language: 'C' | 'Python' | 'JavaScript'): string[] {
  const directory = temporary(t)
  const [name, text] = { C: ['d.c', c], Python: ['d.py', py], JavaScript: ['d.mjs', ts] }[language] as [
    string,
    string,
  ]
  const file = join(directory, name)
  writeFileSync(file, text)
  if (language === 'Python') return ['python', file]
  if (language === 'JavaScript') return [file]
  const plugin = join(directory, 'd.so')
  execFileSync('cc', ['-shared', '-fPIC', '-o', plugin, file])
  return [plugin]
}

interface Seen {
  readonly asked: boolean
  readonly status: number
  readonly echoes: boolean
  readonly shown: string
}

for (const language of ['C', 'Python', 'JavaScript'] as const)
  describe(
    `a password that is typed for a plugin in ${language}`,
    needs('python3', ...(language === 'C' ? (['cc'] as const) : [])),
    () => {
      const program = join(packageRoot, 'bin', 'nbdkit-ts')
      const at = async (t: TestContext, what: string, ...more: string[]): Promise<Seen> => {
        const words = [program, ...more, '-U', '-', ...wordsOf(t, language), 'password=-', '--run', 'true']
        return JSON.parse(await output('python3', ['-c', terminal, what, process.execPath, ...words])) as Seen
      }

      it('is read without being shown', async (t) => {
        const { asked, status, echoes, shown } = await at(t, 'type')
        assert.deepEqual({ asked, status, echoes }, { asked: true, status: 0, echoes: true }, shown)
        assert.equal(shown.includes('cret\r'), false)
      })

      it('leaves the terminal as it was after Ctrl-C', async (t) => {
        const { echoes, shown } = await at(t, 'interrupt')
        assert.ok(echoes, shown)
        assert.doesNotMatch(shown, /is known|is wrong/)
      })

      // In JavaScript nobody is left who could see to that.
      if (language !== 'JavaScript')
        it('leaves the terminal as it was when the server is killed', async (t) => {
          assert.ok((await at(t, 'kill')).echoes)
        })
    },
  )
