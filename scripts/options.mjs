/**
 * Writes the output made from the table of options: the completions of bash and zsh, and the table in
 * docs/nbdkit-ts.md.
 *
 * `npm run options`; with `--check` it only reports files that are not up to date.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { options } from '../dist/src/cli/options/options.js'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const onlyCheck = process.argv.includes('--check')

fill('completions/nbdkit-ts.bash', forBash())
fill('completions/_nbdkit-ts', forZsh())
fill('docs/nbdkit-ts.md', forPage())

/** Replaces the lines between the two that mark this program's output. */
function fill(path, lines) {
  const before = readFileSync(join(root, path), 'utf8')
  const made = 'made by scripts/options.mjs:'
  const block = new RegExp(`^(( *).* ${made} begin.*\n)[\\s\\S]*?^( *.* ${made} end.*)$`, 'm')
  const [all, begin, indent, end] = block.exec(before)
  const after = before.replace(all, () => begin + lines.map((line) => `${indent}${line}\n`).join('') + end)
  if (after === before) return
  if (onlyCheck) process.exitCode = 1
  else writeFileSync(join(root, path), after)
  console.log(onlyCheck ? `${path} is not up to date: "npm run options" makes it anew` : `${path} is written`)
}

/** The spellings in the order of the help: letters first. */
function spellings({ short, names }) {
  return [...(short === undefined ? [] : [`-${short}`]), ...names.map((name) => `--${name}`)]
}

function takesFile({ placeholder = '' }) {
  return /FILE|PATH|SOCKET/.test(placeholder)
}

function forBash() {
  const log = options.find(({ names }) => names.includes('log')).placeholder
  const lists = {
    options: options,
    arguments: options.filter(({ placeholder }) => placeholder !== undefined),
    files: options.filter(takesFile),
  }
  return [
    ...Object.entries(lists).map(
      ([name, some]) => `_nbdkit_ts_${name}='${some.flatMap(spellings).join(' ')}'`,
    ),
    `_nbdkit_ts_log='${log.split('|').filter(isWord).join(' ')}'`,
  ]
}

function isWord(text) {
  return /^[a-z]+$/.test(text)
}

function forZsh() {
  return options.map((option) => {
    const { placeholder, repeats, doc } = option
    const all = spellings(option)
    // A long option takes its argument after = or as the next word, a letter with or without a space.
    const ending = (name) => (placeholder === undefined ? '' : name.startsWith('--') ? '=' : '+')
    const others = repeats ? `'*'` : all.length > 1 ? `'(${all.join(' ')})'` : ''
    const names = all.map((name) => name + ending(name)).join(',')
    const argument =
      placeholder === undefined ? '' : `:${placeholder.replaceAll(/[|:]/g, ' or ')}:${action(option)}`
    return `${others}${all.length > 1 ? `{${names}}` : names}${quote(`[${doc.replaceAll(/[[\]:\\]/g, '\\$&')}]${argument}`)}`
  })
}

/** The zsh function that completes an argument. After a blank, zsh adds no arguments of its own. */
function action(option) {
  const words = option.placeholder.split('|').filter(isWord)
  if (words.length > 0) return ` _nbdkit_ts_words ${words.join(' ')}`
  if (option.placeholder === 'FILTER') return '_nbdkit_ts_filters'
  return takesFile(option) ? '_files' : ' '
}

function quote(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

/** Columns are as wide as their widest cell, as in the other pages. */
function forPage() {
  const rows = options.map((option) => {
    const names = spellings(option).map((name, index, { length }) => {
      const argument =
        option.placeholder === undefined || index < length - 1 ? '' : separator(name) + option.placeholder
      return `\`${name}${argument}\``.replaceAll('|', '\\|')
    })
    return [names.join(', '), option.doc]
  })
  const all = [['Option', 'Meaning'], ...rows]
  const widths = [0, 1].map((column) => Math.max(...all.map((row) => row[column].length)))
  const line = (row, fillWith = ' ') =>
    `| ${row.map((cell, at) => cell.padEnd(widths[at], fillWith)).join(' | ')} |`
  return [line(all[0]), line(['', ''], '-'), ...rows.map((row) => line(row))]
}

function separator(name) {
  return name.startsWith('--') ? '=' : ' '
}
