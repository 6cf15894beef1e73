/** The errors a client can be told of (NBD spec, "Error values"). */
export type NbdErrorCode =
  | 'EPERM'
  | 'EIO'
  | 'ENOMEM'
  | 'EINVAL'
  | 'ENOSPC'
  | 'EOVERFLOW'
  | 'ENOTSUP'
  | 'ESHUTDOWN'

/**
 * The device says no: throw it from a callback, and that one request fails with `code`.
 * Any Node error with a `code` (`ENOENT`, `EACCES`, …) does too, mapped to the nearest of these.
 *
 * @example throw new NbdError('ENOSPC', `write ${length} at ${offset}: the quota of ${quota} bytes is used
 * up`)
 */
export class NbdError extends Error {
  override readonly name = 'NbdError'
  readonly code: NbdErrorCode

  constructor(code: NbdErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/**
 * What the user asked for cannot be done. The program prints the message as one line and exits with status 1.
 */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/** The peer broke the protocol so that the stream has lost its step: the connection ends. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError'
}

/** The text of anything that was thrown, for a log or a reply. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
