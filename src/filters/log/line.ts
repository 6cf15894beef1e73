/** Formats log events: as a line of a file, and as variables of a script. */
import type { Command } from '../../api/around.js'
import { type Device, type Extent, HOLE, type Support, ZERO } from '../../api/device.js'
import type { OpenRequest } from '../../api/plugin.js'
import { shellQuoteLine } from '../../lib/shell-quote.js'

/** A value that needs no quotes in a shell; any text; or words that are already quoted where needed. */
type Value = string | number | { readonly text: string } | { readonly words: string }
export type Fields = Readonly<Record<string, Value>>

export interface Entry {
  /** The start of a request, the reply to a request, or anything else. */
  readonly type: 'ENTER' | 'LEAVE' | 'PRINT'
  readonly action: string
  /** The number of the opened device; undefined where the event concerns none. */
  readonly connection?: number | undefined
  /** The number of the request on that device. */
  readonly id?: number | undefined
  readonly fields: Fields
}

export function lineOf({ type, action, connection, id, fields }: Entry): string {
  let line = connection === undefined ? '' : `connection=${connection} `
  line += type === 'LEAVE' ? `...${action}` : action
  if (id !== undefined) line += ` id=${id}`
  for (const name in fields) line += ` ${name}=${inLine(fields[name])}`
  return type === 'ENTER' ? `${line} ...` : line
}

function inLine(value: Value | undefined): string | number | undefined {
  if (typeof value !== 'object') return value
  return 'words' in value ? `(${value.words})` : shellQuoteLine(value.text)
}

/** All variables that a script may read. Those from our own environment are removed. */
const names =
  'type act connection id return error offset count fua trim fast extents readonly tls exports thread_model ' +
  'export size minsize prefsize maxsize write flush rotational zero cache fast_zero transactions'
const noVariables = Object.fromEntries(names.split(' ').map((name) => [name, undefined]))

export function variablesOf({
  type,
  action,
  connection,
  id,
  fields,
}: Entry): Record<string, string | undefined> {
  const variables: Record<string, string | undefined> = { ...noVariables, type, act: action }
  if (connection !== undefined) variables.connection = `${connection}`
  if (id !== undefined) variables.id = `${id}`
  for (const [name, value] of Object.entries(fields))
    variables[name] = typeof value !== 'object' ? `${value}` : 'words' in value ? value.words : value.text
  return variables
}

export const actions: Readonly<Record<Command['type'], string>> = {
  read: 'Read',
  write: 'Write',
  flush: 'Flush',
  trim: 'Trim',
  zero: 'Zero',
  extents: 'Extents',
  cache: 'Cache',
}
const supports: Readonly<Record<Support, number>> = { none: 0, emulate: 1, native: 2 }
const hex = (value: number) => `0x${value.toString(16)}`
export const bit = (flag: boolean | undefined) => (flag ? 1 : 0)
export const range = (offset: number, length: number): Fields => ({ offset: hex(offset), count: hex(length) })

/**
 * Written out in full because this runs for each request: spreading one object into another takes a
 * microsecond.
 */
export function commandFields({ type, offset, length, flags }: Command): Fields {
  switch (type) {
    case 'flush':
      return {}
    case 'write':
    case 'trim':
      return { offset: hex(offset), count: hex(length), fua: bit(flags.fua) }
    case 'zero':
      return {
        offset: hex(offset),
        count: hex(length),
        trim: bit(flags.mayTrim),
        fua: bit(flags.fua),
        fast: bit(flags.fast),
      }
    default:
      return range(offset, length)
  }
}

export function connectFields({ size, blockSize, rotational, can }: Device, request: OpenRequest): Fields {
  const write = can.write && !request.readOnly
  return {
    export: { text: request.exportName },
    tls: bit(request.tls),
    size: hex(size),
    minsize: hex(blockSize.minimum),
    prefsize: hex(blockSize.preferred),
    maxsize: hex(blockSize.maximum),
    write: bit(write),
    flush: bit(can.flush),
    rotational: bit(rotational),
    trim: bit(write && can.trim),
    zero: write ? supports[can.zero] : 0,
    fua: write ? supports[can.fua] : 0,
    extents: bit(can.extents),
    cache: supports[can.cache],
    fast_zero: bit(write && can.fastZero),
  }
}

/** The offset, length and type of each run. Neighbours of the same type are merged. */
export function runFields(offset: number, runs: readonly Extent[]): Fields {
  const parts: string[] = []
  let at = offset
  let end = offset
  for (const [index, { length, type }] of runs.entries()) {
    end += length
    if (runs[index + 1]?.type === type) continue
    const words = [...(type & HOLE ? ['hole'] : []), ...(type & ZERO ? ['zero'] : [])]
    parts.push(`${hex(at)} ${hex(end - at)} "${words.join()}"`)
    at = end
  }
  return { extents: { words: parts.join(' ') } }
}

/** The device's own error code. An error that is no system error counts as EIO, as for the client. */
export function failureFields(error: unknown): Fields {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
  return { return: -1, error: typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? code : 'EIO' }
}
