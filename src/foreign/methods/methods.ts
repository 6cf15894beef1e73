/**
 * A plugin whose methods belong to a script or another program. They are called by name with words and bytes,
 * and answer with bytes. Words and answers are those of nbdkit-sh-plugin(3), in whatever language the plugin
 * is.
 */
import type { Connection } from '../../api/connection.js'
import type { Data } from '../../api/device.js'

/** The result of a call that did not fail. */
export interface Outcome {
  /** `false`: the negative answer of a yes-or-no method. `missing`: there is no such method. */
  readonly status: 'ok' | 'false' | 'missing'
  /** The output. Empty unless `ok`. */
  readonly output: Data
}

/** Inputs of a call beside its words. */
export interface CallOptions {
  /** For `pwrite`: the data, borrowed until the promise settles. */
  readonly input?: Uint8Array | undefined
  /** For `pread`: memory that the output may fill. The output must have the same length. */
  readonly into?: Uint8Array | undefined
  /** The client of the call, for `disconnect` and to give up when the client is dropped. */
  readonly connection?: Connection | undefined
}

export interface Methods {
  /** The owner of the methods, for messages. */
  readonly name: string
  /** The existing methods; undefined where only a call can tell. */
  readonly known?: ReadonlySet<string>
  /**
   * Rejects with the failure of the method: an Error whose `code` is an errno name and whose message says
   * everything.
   */
  call(method: string, words: readonly (string | number)[], options?: CallOptions): Promise<Outcome>
}

/** The most output of methods that return no data, in bytes: more than any list of exports needs. */
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

/** The output as text. */
export function textOf(output: Data): string {
  if (output instanceof Uint8Array)
    return Buffer.from(output.buffer, output.byteOffset, output.length).toString()
  return Buffer.concat(output).toString()
}

/** The output as text, without the newline that a script's `echo` adds. */
export function lineOf(output: Data): string {
  return textOf(output).replace(/\n$/, '')
}
