/** Which metadata contexts a client may select (NBD spec, "Metadata querying"). Pure. */

import type { Device } from '../api/device.js'
import { NBD_META_BASE_ALLOCATION } from '../protocol/constants.js'
import type { MetaContext } from './agreement.js'

/**
 * Returns the names that match the queries, in the device's order. When selecting, a query is a whole name.
 * When listing, a query may also be a namespace and a colon, and no query asks for all.
 */
export function matchContexts(device: Device, queries: readonly string[], set: boolean): readonly string[] {
  const all = [NBD_META_BASE_ALLOCATION, ...device.contexts]
  if (queries.length === 0) return set ? [] : all
  return all.filter((name) =>
    queries.some((query) => query === name || (!set && query.endsWith(':') && name.startsWith(query))),
  )
}

/** Gives selected names the ids that the client was told, counted from 1. */
export function contextsOf(device: Device, names: readonly string[]): readonly MetaContext[] {
  const all = matchContexts(device, [], false)
  return names.map((name, index) => ({ id: index + 1, name })).filter(({ name }) => all.includes(name))
}
