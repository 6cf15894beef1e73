/** The pictures in docs/lifecycle.md and README.md are the tables that the code goes by. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { connectionStates, move as moveConnection } from '../../src/connection/states.js'
import { move as moveServer, serverStates } from '../../src/server/states.js'

const root = rootAbove(dirname(fileURLToPath(import.meta.url)))
function rootAbove(directory: string): string {
  return existsSync(join(directory, 'package.json')) ? directory : rootAbove(dirname(directory))
}

/** Those of a page: the first is of the server, the second of a connection. */
function diagramsOf(page: string): string[] {
  const text = readFileSync(join(root, page), 'utf8')
  return [...text.matchAll(/^```mermaid\nstateDiagram-v2\n([\s\S]*?)^```/gm)].map(
    ([, diagram = '']) => diagram,
  )
}

const pages = ['docs/lifecycle.md', 'README.md'].map((name) => ({ name, diagrams: diagramsOf(name) }))

/** The arrows of a diagram, `from --> to`. Mermaid's `[*]` is where it begins and ends. */
function arrows(diagram = ''): string[] {
  const found = diagram.matchAll(/^ *(\S+) --> ([^\s:]+)(?:: .+)?$/gm)
  return [...found].map(([, from, to]) => `${from} --> ${to}`).sort()
}

/** The same of a table: it begins with the first state, and ends with those that lead nowhere. */
function moves(table: Readonly<Record<string, readonly string[]>>): string[] {
  const states = Object.entries(table)
  return [
    `[*] --> ${states[0]?.[0]}`,
    ...states.flatMap(([from, targets]) => targets.map((to) => `${from} --> ${to}`)),
    ...states.filter(([, targets]) => targets.length === 0).map(([last]) => `${last} --> [*]`),
  ].sort()
}

for (const { name, diagrams } of pages)
  test(`${name} has a diagram for the server and one for a connection`, () => {
    assert.equal(diagrams.length, 2)
    for (const diagram of diagrams)
      assert.equal(arrows(diagram).length, diagram.trim().split('\n').length, 'each line is an arrow')
  })

const tables = [
  ['server', 0, serverStates],
  ['connection', 1, connectionStates],
] as const
for (const [name, at, table] of tables) {
  for (const page of pages)
    test(`the diagram of a ${name} in ${page.name} shows its table of states`, () => {
      assert.deepEqual(arrows(page.diagrams[at]), moves(table))
    })
  test(`every state of a ${name} can be reached, and leads to its end`, () => {
    const edges: Readonly<Record<string, readonly string[]>> = table
    const [first = ''] = Object.keys(edges)
    const last = Object.keys(edges).at(-1) ?? ''
    const reach = (from: string) => {
      const reached = new Set([from])
      for (const state of reached) for (const to of edges[state] ?? []) reached.add(to)
      return reached
    }
    assert.deepEqual([...reach(first)].sort(), Object.keys(edges).sort())
    for (const state of Object.keys(edges)) assert.ok(reach(state).has(last), `${state} leads to ${last}`)
  })
}

test('a move that the table does not have is refused', () => {
  assert.equal(moveServer('serving', 'draining'), 'draining')
  assert.throws(() => moveServer('stopped', 'serving'), /cannot move from stopped to serving/)
  assert.equal(moveConnection('greeting', 'closed'), 'closed')
  assert.throws(() => moveConnection('closed', 'transmission'), /cannot move from closed to transmission/)
})
