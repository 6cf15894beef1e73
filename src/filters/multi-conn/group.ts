/**
 * What flushes have not covered yet. The model is a device for each connection that may keep back what was
 * written through it, and keep what was read through it, until it is flushed.
 *
 * Counters only ever grow, and are taken before a flush begins: what happens meanwhile is left to the next
 * one, and a flush that fails has covered nothing.
 */
import type { Device } from '../../api/device.js'
import { andThen, type MaybePromise } from '../../api/maybe.js'

/** How closely it is noted what a flush is needed for. */
export type Tracking = 'connection' | 'fast' | 'off'

/** Connections for which a flush is one and the same. */
export class Group {
  readonly members = new Set<Member>()
  /** Changes, by any member, that are not durable by themselves. */
  #writes: number
  #flushedWrites = 0
  #running: Promise<void> | undefined
  /** Everything after which one member's bytes may not be what another one has kept. */
  events = 0

  /** `dirty`: begins as if somebody had written. */
  constructor(dirty: boolean) {
    this.#writes = Number(dirty)
  }

  get dirty(): boolean {
    return this.#writes !== this.#flushedWrites
  }

  noteWrite(): void {
    this.#writes++
  }

  /** Flushes through one member's device, which covers all. */
  flushBy(device: Device): MaybePromise<void> {
    const writes = this.#writes
    return andThen(device.flush(), () => {
      this.#flushedWrites = Math.max(this.#flushedWrites, writes)
    })
  }

  /** Flushes every member that needs it, as far as `tracking` tells. */
  flushAll(tracking: Tracking): MaybePromise<void> {
    // Nobody has written since the last flush, which may still be on its way.
    if (tracking === 'fast' && ![...this.members].some((member) => member.dirty)) return this.#running
    const running = this.#flushInTurn(tracking).finally(() => {
      if (this.#running === running) this.#running = undefined
    })
    this.#running = running
    return running
  }

  /** Those who wrote come first: once that is there, the others drop what they keep. */
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
  /** Of the group's events, its own. */
  #events = 0
  /** How many events of others there were when it kept nothing. */
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

  /** `durable`: it needs no flush, others may not see it all the same. */
  noteChange(durable: boolean): void {
    this.#noteEvent()
    if (durable) return
    this.#writes++
    this.#group.noteWrite()
  }

  /** Whether it may keep bytes that others have changed since. */
  mayBeStale(): boolean {
    const others = this.#group.events - this.#events
    // It has read nothing to keep: what happened until now, it has not missed.
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

  /** Resolves when its device is not in use by others. */
  async leave(): Promise<void> {
    this.#group.members.delete(this)
    await Promise.allSettled(this.#flushing)
  }

  #noteEvent(): void {
    this.#events++
    this.#group.events++
  }
}
