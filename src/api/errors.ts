/** The errors that a client can get (NBD spec, "Error values"). */
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
 * An error of the device: thrown from a callback, it fails that one request with `code`. Any Node error with
 * a `code` (`ENOENT`, `EACCES`, …) does the same, mapped to the nearest of these.
 *
 * @example
 * throw new NbdError('ENOSPC', `write ${length} at ${offset}: the quota of ${quota} bytes is used up`)
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
 * The user's request cannot be carried out. The program prints the message as one line and exits with status
 * 1. Its `code` is `NBD_CONFIG`.
 */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly code = 'NBD_CONFIG'
}

/** The peer broke the protocol, and the stream is out of step: the connection ends. Code `NBD_PROTOCOL`. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError'
  readonly code = 'NBD_PROTOCOL'
}

/** The text of an error that has none. */
const textless = 'something without a text was thrown'

/**
 * The text of any thrown value, for a log or a reply. Never throws, even for a value without a text, one
 * whose `toString` throws, or a revoked proxy.
 */
export function messageOf(error: unknown): string {
  try {
    const text: unknown = error instanceof Error ? error.message : String(error)
    return typeof text === 'string' ? text : textless
  } catch {
    return textless
  }
}

/** The stack of any thrown value, or its text where it has no stack. Never throws. */
export function stackOf(error: unknown): string {
  const stack = isA(error, Error) ? propertyOf(error, 'stack') : undefined
  return typeof stack === 'string' && stack !== '' ? stack : messageOf(error)
}

/** Same as `error instanceof kind`, for any thrown value. Never throws. */
export function isA<T extends Error>(
  error: unknown,
  kind: abstract new (...given: never[]) => T,
): error is T {
  try {
    return error instanceof kind
  } catch {
    return false
  }
}

/** A property of any thrown value; undefined where reading it throws. Never throws. */
export function propertyOf(error: unknown, key: string): unknown {
  try {
    return typeof error === 'object' && error !== null ? Reflect.get(error, key) : undefined
  } catch {
    return undefined
  }
}
