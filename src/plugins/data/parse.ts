/**
 * Parses a text in the language of the `data` parameter into a tree. Substitutes variables and looks up
 * names.
 */
import { resolve } from 'node:path'
import { errorAt, type Position } from './position.js'
import { type Move, type Token, tokens } from './tokens.js'

/** An expression. A named expression is the same object at each use of the name. */
export type Node = {
  readonly position: Position
  /** How deep expressions are nested in it. */
  readonly depth: number
} & (
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'script'; readonly script: string }
  | { readonly kind: 'group'; readonly items: readonly Item[] }
  | { readonly kind: 'repeat'; readonly node: Node; readonly count: number }
  | { readonly kind: 'slice'; readonly node: Node; readonly from: number; readonly to: number | undefined }
)
/** Moves the offset of the next expression. */
export interface MoveItem {
  readonly kind: 'move'
  readonly position: Position
  readonly how: Move
  readonly count: number
}
export type Item = Node | MoveItem

/** The most nesting: recursive functions walk the tree. */
const depthMax = 200
/**
 * The most expressions: variables that contain others more than once would expand a short command line
 * without limit.
 */
const nodesMax = 1_000_000

/** A name is visible from its definition on, also in nested scopes. */
interface Scope {
  readonly names: Map<string, Node>
  readonly outer: Scope | undefined
}

/**
 * @param variable returns the text of a `$NAME`.
 * @throws ConfigError with the position of text that cannot be parsed.
 */
export function parse(text: string, variable: (name: string) => string | undefined): Node {
  const source = { name: '', text }
  return new Parser(variable).text({ source, at: 0, token: '' }, undefined)
}

/** The first token of an expression. */
type Begin = Extract<Token, { kind: 'bytes' | 'file' | 'script' | 'open' | 'name' | 'variable' }>

class Parser {
  readonly #variable: (name: string) => string | undefined
  /** The number of open groups and variables. */
  #open = 0
  #nodes = 0

  constructor(variable: (name: string) => string | undefined) {
    this.#variable = variable
  }

  /** Parses a whole text: the parameter itself, or a variable in a scope of its own. */
  text(position: Position, outer: Scope | undefined): Node {
    return this.#group(tokens(position.source), position, outer, false)
  }

  /** Parses up to the parenthesis that closes the group, or up to the end of the text. */
  #group(words: Iterator<Token>, position: Position, outer: Scope | undefined, isOpen: boolean): Node {
    if (this.#open === depthMax) throw this.#tooDeep(position)
    this.#open++
    const scope: Scope = { names: new Map(), outer }
    const items: Item[] = []
    /** The expression to which a following `*`, `[` or `->` applies. */
    let last: Node | undefined
    for (;;) {
      const { value: token, done } = words.next()
      if (done || token.kind === 'close') {
        if (!done && !isOpen) throw errorAt(token.position, 'nothing is open here that it could close')
        if (done && isOpen) throw errorAt(position, 'it is not closed: expected ) before the end')
        this.#open--
        return this.#node(groupOf(items, position))
      }
      if (token.kind === 'move') {
        items.push(token)
        last = undefined
      } else if (token.kind === 'repeat' || token.kind === 'slice' || token.kind === 'assign') {
        if (last === undefined) throw errorAt(token.position, 'expected an expression before it')
        items.pop()
        const named = token.kind === 'assign'
        if (named) scope.names.set(token.name, last)
        last = named ? undefined : this.#node({ ...token, node: last, depth: last.depth + 1 })
        if (last) items.push(last)
      } else {
        last = this.#expression(token, words, scope)
        items.push(last)
      }
    }
  }

  #expression(token: Begin, words: Iterator<Token>, scope: Scope): Node {
    const { position } = token
    switch (token.kind) {
      case 'bytes':
      case 'script':
        return this.#node({ ...token, depth: 1 })
      case 'file':
        return this.#node({ ...token, path: resolve(token.path), depth: 1 })
      case 'open':
        return this.#group(words, position, scope, true)
      case 'name':
        return lookUp(position, token.name, scope)
      case 'variable':
        return this.#substitute(position, token.name, scope)
    }
  }

  #substitute(position: Position, name: string, scope: Scope): Node {
    const text = this.#variable(name)
    if (text === undefined)
      throw errorAt(
        position,
        `there is no such variable: expected ${name}=… as a parameter or in the environment`,
      )
    // Report this at the variable, which most likely contains itself.
    if (this.#open === depthMax) throw this.#tooDeep(position)
    return this.text({ source: { name: position.token, text }, at: 0, token: '' }, scope)
  }

  #node(node: Node): Node {
    if (node.depth > depthMax) throw this.#tooDeep(node.position)
    if (++this.#nodes > nodesMax) throw errorAt(node.position, `there are more than ${nodesMax} expressions`)
    return node
  }

  #tooDeep(position: Position) {
    return errorAt(position, `more than ${depthMax} expressions or variables are one within the other`)
  }
}

/**
 * A group of one expression is that expression, so that a slice of it can end the reading of an endless file.
 */
function groupOf(items: readonly Item[], position: Position): Node {
  const [first] = items
  if (first && first.kind !== 'move' && items.length === 1) return first
  let depth = 0
  for (const item of items) if (item.kind !== 'move') depth = Math.max(depth, item.depth)
  return { kind: 'group', items, position, depth: depth + 1 }
}

function lookUp(position: Position, name: string, scope: Scope): Node {
  for (let at: Scope | undefined = scope; at; at = at.outer) {
    const node = at.names.get(name)
    if (node) return node
  }
  throw errorAt(position, `the name is not known here: expected EXPRESSION -> \\${name} before it`)
}
