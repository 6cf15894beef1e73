/** Evaluates a tree of expressions to bytes. Reads files and runs scripts. */
import { type Blob, bytes, repeat, sequence, slice } from './blob.js'
import type { Item, MoveItem, Node } from './parse.js'
import { errorAt, type Position } from './position.js'
import { readFileStart, readScriptStart } from './sources.js'

/**
 * The bytes of an expression. Any number of bytes after the first `wanted` may be missing, so that reading an
 * endless file ends.
 *
 * @throws ConfigError with the position of the error: a slice beyond its expression, a missing file.
 */
export function evaluate(root: Node, wanted: number): Promise<Blob> {
  return new Evaluation().node(root, wanted)
}

class Evaluation {
  /** A named expression is evaluated once for all its uses that want the same number of bytes. */
  readonly #known = new WeakMap<Node, Map<number, Blob>>()

  async node(node: Node, wanted: number): Promise<Blob> {
    if (node.kind === 'bytes') return bytes(node.bytes)
    const known = this.#known.get(node) ?? new Map<number, Blob>()
    this.#known.set(node, known)
    const blob = known.get(wanted) ?? (await this.#evaluate(node, wanted))
    known.set(wanted, blob)
    return blob
  }

  async #evaluate(node: Exclude<Node, { kind: 'bytes' }>, wanted: number): Promise<Blob> {
    switch (node.kind) {
      case 'file':
        return readFileStart(node.path, wanted, node.position)
      case 'script':
        return readScriptStart(node.script, wanted, node.position)
      case 'group':
        return this.#group(node.items)
      case 'repeat': {
        const blob = await this.node(node.node, node.count === 0 ? 0 : wanted)
        inReach(blob.length * node.count, node.position)
        return repeat(blob, node.count)
      }
      case 'slice':
        return this.#slice(node, wanted)
    }
  }

  async #group(items: readonly Item[]): Promise<Blob> {
    const parts: { at: number; blob: Blob }[] = []
    let [at, length] = [0, 0]
    for (const item of items) {
      if (item.kind === 'move') at = inReach(moved(item, at), item.position)
      else {
        // Most items of a long text are bytes, and need no turn of the event loop each.
        const blob =
          item.kind === 'bytes' ? bytes(item.bytes) : await this.node(item, Number.POSITIVE_INFINITY)
        if (blob.length > 0) parts.push({ at, blob })
        at = inReach(at + blob.length, item.position)
      }
      length = Math.max(length, at)
    }
    return sequence(parts, length)
  }

  async #slice(node: Extract<Node, { kind: 'slice' }>, wanted: number): Promise<Blob> {
    const { from, to = Number.POSITIVE_INFINITY, position } = node
    if (from > to) throw errorAt(position, `it ends at ${to}, before it begins`)
    const blob = await this.node(node.node, Math.min(to, from + wanted))
    const { length } = blob
    // The lengths of files and scripts need not be known in advance.
    if (node.node.kind === 'file' || node.node.kind === 'script')
      return slice(blob, Math.min(from, length), Math.min(to, length))
    const end = node.to ?? length
    const missing = from > length || (end > length && length < from + wanted)
    if (missing) throw errorAt(position, `the expression before it has ${length} bytes`)
    return slice(blob, from, Math.min(end, length))
  }
}

function moved({ how, count, position }: MoveItem, at: number): number {
  switch (how) {
    case 'to':
      return count
    case '+':
      return at + count
    case '-':
      if (count > at) throw errorAt(position, `it goes back before the start: the offset here is ${at}`)
      return at - count
    case '^':
      if (count === 0) throw errorAt(position, 'expected an alignment of 1 or more')
      return at + ((count - (at % count)) % count)
  }
}

function inReach(offset: number, position: Position): number {
  if (!Number.isSafeInteger(offset))
    throw errorAt(position, `it is beyond the largest offset, ${Number.MAX_SAFE_INTEGER} (8 PiB - 1)`)
  return offset
}
