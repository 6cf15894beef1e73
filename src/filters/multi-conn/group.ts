/**
 * Tracks the writes and reads that no flush has covered. The model is a device for each connection that may
 * hold back data written through it, and cache data read through it, until it is flushed.
 *
 * Counters only grow, and are sampled before a flush begins. Changes during a flush are thus left to the next
 * one, and a failed flush covers nothing.
 */
import type { Device } from '../../api/device.js'
import { andThen, type MaybePromise } from '../../api/maybe.js'

/** How precisely the need for a flush is tracked. */
export type Tracking = 'connection' | 'fast' | 'off'

/** Connections that share a flush. */
export class Group {
  readonly members = new Set<Member>()
  /** Changes by any member that are not yet durable. */
  #writes: number
  #flushedWrites = 0
  #running: Promise<void> | undefined
  /** Counts events after which one member's data may differ from data that another has cached. */
  events = 0

  /** `dirty`: starts as if there were unflushed writes. */
  constructor(dirty: boolean) {
    this.#writes = Number(dirty)
  }

  get dirty(): boolean {
    return this.#writes !== this.#flushedWrites
  }

  noteWrite(): void {
    this.#writes++
  }

  /** Flushes through one member's device, which covers all members. */
  flushBy(device: Device): MaybePromise<void> {
    const writes = this.#writes
    return andThen(device.flush(), () => {
      this.#flushedWrites = Math.max(this.#flushedWrites, writes)
    })
  }

  /** Flushes every member that needs it, as far as `tracking` can tell. */
  flushAll(tracking: Tracking): MaybePromise<void> {
    // Nothing was written since the last flush, which may still be running.
    if (tracking === 'fast' && ![...this.members].some((member) => member.dirty)) return this.#running
    const running = this.#flushInTurn(tracking).finally(() => {
      if (this.#running === running) this.#running = undefined
    })
    this.#running = running
    return running
  }

  /** Flushes the members that wrote first. After that, flushing the others makes them drop their caches. */
  async #flushInTurn(tracking: Tracking): Promise<void> {
    const writers = [...this.members].filter((member) => member.dirty)
    await Promise.all(writers.map((member) => member.flush()))
    const only = writers.length === 1 ? writers[0] : undefined
    const rest = [...this.members].filter((member) =>
      tracking === 'connection' ? member.mayBeStale() : member !== only,
    )
    await Promise.all(rest.map((member) => member.flush()))
  }
}

/** One connection. */
export class Member {
  readonly #device: Device
  readonly #group: Group
  readonly #flushing = new Set<Promise<void>>()
  #writes = 0
  #flushedWrites = 0
  #reads = 0
  #flushedReads = 0
  /** Events of the group that this member caused. */
  #events = 0
  /** The number of others' events when this member last had nothing cached. */
  #seen: number

  constructor(device: Device, group: Group) {
    this.#device = device
    this.#group = group
    this.#seen = group.events
    group.members.add(this)
  }

  get dirty(): boolean {
    return this.#writes !== this.#flushedWrites
  }

  noteRead(): void {
    this.#reads++
  }

  /** Records a change. A `durable` one needs no flush, but others may still not see it. */
  noteChange(durable: boolean): void {
    this.#noteEvent()
    if (durable) return
    this.#writes++
    this.#group.noteWrite()
  }

  /** Whether this member may have cached data that others have changed since. */
  mayBeStale(): boolean {
    const others = this.#group.events - this.#events
    // The member has read nothing to cache, so it has missed nothing until now.
    if (this.#reads === this.#flushedReads) this.#seen = others
    return this.#seen !== others
  }

  async flush(): Promise<void> {
    const { dirty } = this
    const [writes, reads, others] = [this.#writes, this.#reads, this.#group.events - this.#events]
    const flushing = (async () => this.#device.flush())()
    this.#flushing.add(flushing)
    try {
      await flushing
    } finally {
      this.#flushing.delete(flushing)
    }
    if (dirty) this.#noteEvent()
    this.#flushedWrites = Math.max(this.#flushedWrites, writes)
    this.#flushedReads = Math.max(this.#flushedReads, reads)
    this.#seen = Math.max(this.#seen, others)
  }

  /** Resolves when no other member uses its device any more. */
  async leave(): Promise<void> {
    this.#group.members.delete(this)
    await Promise.allSettled(this.#flushing)
  }

  #noteEvent(): void {
    this.#events++
    this.#group.events++
  }
}
