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
 * Its `code` is `NBD_CONFIG`.
 */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly code = 'NBD_CONFIG'
}

/**
 * The peer broke the protocol so that the stream has lost its step: the connection ends. Its `code` is
 * `NBD_PROTOCOL`.
 */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError'
  readonly code = 'NBD_PROTOCOL'
}

/** Stands for the text of what has none. */
const textless = 'something without a text was thrown'

/**
 * The text of anything that was thrown, for a log or a reply. Never throws: a layer may throw what has no
 * text, whose `toString` throws, or a proxy that is revoked.
 */
export function messageOf(error: unknown): string {
  try {
    const text: unknown = error instanceof Error ? error.message : String(error)
    return typeof text === 'string' ? text : textless
  } catch {
    return textless
  }
}

/** The stack of anything that was thrown; its text where it has no stack. Never throws. */
export function stackOf(error: unknown): string {
  const stack = isA(error, Error) ? propertyOf(error, 'stack') : undefined
  return typeof stack === 'string' && stack !== '' ? stack : messageOf(error)
}

/** As `error instanceof kind`, for anything that was thrown. Never throws. */
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

/** A property of anything that was thrown; undefined where to read it throws. Never throws. */
export function propertyOf(error: unknown, key: string): unknown {
  try {
    return typeof error === 'object' && error !== null ? Reflect.get(error, key) : undefined
  } catch {
    return undefined
  }
}
