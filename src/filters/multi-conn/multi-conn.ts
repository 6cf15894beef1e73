import type { Device, DeviceInit } from '../../api/device.js'
import { ConfigError } from '../../api/errors.js'
import { isPromise, type MaybePromise } from '../../api/maybe.js'
import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'
import { Group, Member } from './group.js'

/** Announces, emulates or denies that a flush covers all clients (nbdkit-multi-conn-filter(1)). */
export default defineFilter({
  name: 'multi-conn',
  description: 'makes a flush by one client hold for all of them',
  params: {
    mode: param.oneOf(['auto', 'emulate', 'plugin', 'disable', 'unsafe'], {
      default: 'auto',
      keys: ['multi-conn-mode'],
      doc: 'Whether clients are told that a flush holds for all, and how that comes true.',
    }),
    trackDirty: param.oneOf(['connection', 'fast', 'off'], {
      default: 'connection',
      keys: ['multi-conn-track-dirty'],
      also: { conn: 'connection' },
      doc: 'How closely to note what needs a flush, and leave out flushes that nothing needs.',
    }),
    byExportName: param.boolean({
      default: false,
      keys: ['multi-conn-exportname', 'multi-conn-export-name'],
      doc: 'Whether exports of different names have nothing to do with each other.',
    }),
  },
  setup({ mode, trackDirty, byExportName }) {
    const groups = new Map<string, Group>()
    /** The last client left writes that were never flushed. */
    let abandoned = false
    let oneByOne = false

    const join = (name: string): Group => {
      const group = groups.get(name) ?? new Group(abandoned)
      groups.set(name, group)
      return group
    }
    const dropEmpty = (name: string, group: Group, shared: boolean) => {
      if (group.members.size > 0) return
      groups.delete(name)
      abandoned ||= shared && group.dirty
    }

    return {
      ready({ concurrency }) {
        oneByOne = concurrency === 'serialize-connections'
      },
      async open(request, next) {
        const device = await next(request)
        const { can } = device
        const chosen = mode === 'auto' ? (oneByOne ? 'disable' : can.multiConn ? 'plugin' : 'emulate') : mode
        const emulate = chosen === 'emulate'
        if (emulate && !can.flush)
          throw new ConfigError(
            `multi-conn: multi-conn-mode=${mode} needs a disk that can be flushed, and the one below cannot`,
          )
        const told = emulate || chosen === 'unsafe' || (chosen === 'plugin' && can.multiConn)
        const init = { ...device, can: { ...can, multiConn: told && !oneByOne } }
        if (!can.flush || (trackDirty === 'off' && !emulate)) return init

        const name = byExportName ? request.exportName : ''
        const group = join(name)
        const member = new Member(device, group)
        // Where a flush by one member covers all, or is assumed to, the writer does not matter.
        const shared = !emulate && (trackDirty === 'fast' || can.multiConn)
        const close = async () => {
          try {
            // Later flushes by others promise to cover these writes, but could not reach them after the
            // close.
            if (emulate && member.dirty) await member.flush()
          } finally {
            await member.leave()
            dropEmpty(name, group, shared)
          }
        }
        const noted = withNotes(init, device, member, trackDirty === 'connection' && !shared)
        if (shared) return { ...noted, flush: () => (group.dirty ? group.flushBy(device) : undefined), close }
        if (!emulate)
          return {
            ...noted,
            flush: () => (member.dirty || member.mayBeStale() ? member.flush() : undefined),
            close,
          }
        // A write with FUA is a write followed by a flush of all members.
        const withFua = { ...init.can, fua: 'emulate' as const }
        return { ...noted, can: withFua, flush: () => group.flushAll(trackDirty), close }
      },
    }
  },
})

/** Records changes, and reads where they matter. */
function withNotes(init: DeviceInit, device: Device, member: Member, reads: boolean): DeviceInit {
  /** Records before and after: a change in flight also belongs to the next flush. */
  const noted = (durable: boolean, change: () => MaybePromise<void>): MaybePromise<void> => {
    member.noteChange(durable)
    const result = change()
    return isPromise(result) ? result.finally(() => member.noteChange(durable)) : result
  }
  const noting: DeviceInit = {
    ...init,
    write: (offset, data, flags) => noted(flags.fua, () => device.write(offset, data, flags)),
    trim: (offset, length, flags) => noted(flags.fua, () => device.trim(offset, length, flags)),
    zero: (offset, length, flags) => noted(flags.fua, () => device.zero(offset, length, flags)),
  }
  if (!reads) return noting
  return {
    ...noting,
    read(offset, length, alloc) {
      member.noteRead()
      return device.read(offset, length, alloc)
    },
    cache(offset, length) {
      member.noteRead()
      return device.cache(offset, length)
    },
  }
}
