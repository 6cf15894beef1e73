/**
 * What a client asks of the layers before it sends requests: the list of exports, and the device of one
 * export.
 */
import type { Device } from '../api/device.js'
import type { Export, OpenRequest } from '../api/plugin.js'
import { defaultExport, listExports } from '../chain/exports.js'
import { type Link, openChain } from '../chain/open.js'
import type { Running } from '../chain/running.js'
import type { Gate } from './concurrency.js'

export interface OpenExportParts {
  readonly links: readonly Link[]
  readonly gate: Gate
  readonly running: Running
  readonly request: (exportName: string) => OpenRequest
}

/** Holds one device at a time. Options that name the same export get the same device. */
export class OpenExport {
  readonly #parts: OpenExportParts
  #open: { readonly name: string; readonly device: Device } | undefined
  #name = ''

  constructor(parts: OpenExportParts) {
    this.#parts = parts
  }

  /** The name as the client sent it, also while the export is being opened. */
  get name(): string {
    return this.#name
  }

  get isOpen(): boolean {
    return this.#open !== undefined
  }

  list(): Promise<readonly Export[]> {
    const { gate, links, request, running } = this.#parts
    return gate.run(() => listExports(links, request(''), running))
  }

  /** The name that an empty name stands for. */
  defaultName(): Promise<string> {
    const { gate, links, request, running } = this.#parts
    return gate.run(() => defaultExport(links, request(''), running))
  }

  async open(name: string): Promise<Device> {
    if (this.#open?.name === name) return this.#open.device
    await this.close()
    this.#name = name
    const exportName = name || (await this.defaultName())
    const { gate, links, request, running } = this.#parts
    const device = await gate.run(() => openChain(links, request(exportName), running))
    this.#open = { name, device }
    return device
  }

  async close(): Promise<void> {
    const last = this.#open
    this.#open = undefined
    if (last) await this.#parts.gate.run(() => last.device.close())
  }
}
