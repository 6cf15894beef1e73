/**
 * A plugin whose methods are somebody else's: a script's, a program's. They are called by name, with words
 * and bytes, and answer with bytes. What the words are and what is answered is that of nbdkit-sh-plugin(3),
 * whatever language is behind it.
 */
import type { Connection } from '../../api/connection.js'
import type { Data } from '../../api/device.js'

/** How a call ended that did not fail. */
export interface Outcome {
  /** `false`: the other answer of a method that tells yes or no. `missing`: there is no such method. */
  readonly status: 'ok' | 'false' | 'missing'
  /** What was printed. Empty unless `ok`. */
  readonly output: Data
}

/** What comes with a call, beside its words. */
export interface CallOptions {
  /** For `pwrite`: borrowed until the promise settles. */
  readonly input?: Uint8Array | undefined
  /** For `pread`: the memory that may be filled with the output, which is to be as long. */
  readonly into?: Uint8Array | undefined
  /** Whose callback it is; for `disconnect`, and to give up when it is dropped. */
  readonly connection?: Connection | undefined
}

export interface Methods {
  /** Whose they are, for messages. */
  readonly name: string
  /** Those that there are; undefined: only a call tells. */
  readonly known?: ReadonlySet<string>
  /**
   * Rejects with what the method failed with: an Error whose `code` is an errno name. There is no more to
   * say of it than its message.
   */
  call(method: string, words: readonly (string | number)[], options?: CallOptions): Promise<Outcome>
}

/** What is printed by methods that give no data, in bytes: more than any list of exports needs. */
export const textMax = 32 * 2 ** 20

/** The methods that a layer is built of. `eval` takes a script for each. */
export const methodNames = [
  'after_fork',
  'block_size',
  'cache',
  'can_cache',
  'can_extents',
  'can_fast_zero',
  'can_flush',
  'can_fua',
  'can_multi_conn',
  'can_trim',
  'can_write',
  'can_zero',
  'close',
  'config',
  'config_complete',
  'default_export',
  'dump_plugin',
  'export_description',
  'extents',
  'flush',
  'get_ready',
  'get_size',
  'is_rotational',
  'list_exports',
  'magic_config_key',
  'open',
  'pread',
  'preconnect',
  'pwrite',
  'thread_model',
  'trim',
  'unload',
  'zero',
] as const

/** What was printed, as text. */
export function textOf(output: Data): string {
  if (output instanceof Uint8Array)
    return Buffer.from(output.buffer, output.byteOffset, output.length).toString()
  return Buffer.concat(output).toString()
}

/** Without the newline that a script's `echo` adds. */
export function lineOf(output: Data): string {
  return textOf(output).replace(/\n$/, '')
}
