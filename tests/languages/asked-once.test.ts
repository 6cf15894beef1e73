/** A connection asks a plugin once for what does not change, whatever options a client sends. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { it } from 'node:test'
import { needs, output, serve, temporary } from '../interop/helpers.js'

const script = (log: string) => `#!/bin/sh
echo "$1" >> ${log}
case "$1" in
  get_size) echo 1M ;;
  pread) head -c "$3" /dev/zero ;;
  block_size) echo 1 4096 64M ;;
  can_fua | can_cache) echo native ;;
  default_export) echo main ;;
  list_exports) printf 'NAMES\\nmain\\n' ;;
  export_description) echo text ;;
  thread_model) echo parallel ;;
  magic_config_key) exit 2 ;;
esac
`

/** As nbdinfo does it: it looks at the export, opens it, and asks for all that there is to ask. */
it(
  'each method is called once for a client that looks at an export and then opens it',
  needs('nbdinfo'),
  async (t) => {
    const directory = temporary(t)
    const [file, log] = [join(directory, 'script'), join(directory, 'log')]
    writeFileSync(file, script(log), { mode: 0o755 })
    const server = await serve(t, 'sh', file)
    await output('nbdinfo', [server.uri])
    await server.stop()
    const called = readFileSync(log, 'utf8').trim().split('\n').toSorted()
    const once = [
      ...['after_fork', 'block_size', 'can_cache', 'can_extents', 'can_fast_zero', 'can_flush', 'can_fua'],
      ...[
        'can_multi_conn',
        'can_trim',
        'can_write',
        'can_zero',
        'close',
        'config_complete',
        'default_export',
      ],
      ...['export_description', 'get_ready', 'get_size', 'is_rotational', 'load', 'open', 'preconnect'],
      ...['thread_model', 'unload'],
    ]
    // It reads the first bytes to tell what is on the disk.
    assert.deepEqual(
      called.filter((name) => name !== 'pread'),
      once,
    )
  },
)
