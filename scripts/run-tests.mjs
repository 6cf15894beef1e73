/** Runs files of tests, several at a time, and tells of each in one line: more only of what fails. */
import { availableParallelism } from 'node:os'
import { run } from 'node:test'
import { inspect } from 'node:util'

/** The longest that one file may take, in ms: a slow machine that does other things is no reason to fail. */
const fileTimeoutMs = 10 * 60_000

/**
 * @typedef {{ name: string, file: string, reason: string }} Skip
 * @typedef {{ passed: number, failures: string[], skips: Skip[] }} Totals
 *
 * @param {{ name: string, path: string }[]} files The first are begun first: those that take long.
 * @param {(text: string) => void} print
 * @returns {Promise<Totals>}
 */
export async function runTests(files, print) {
  const totals = { passed: 0, failures: [], skips: [] }
  const waiting = [...files]
  let done = 0
  const worker = async () => {
    for (let file = waiting.shift(); file; file = waiting.shift()) {
      const result = await runFile(file)
      done++
      print(lines(file, result, `${String(done).padStart(`${files.length}`.length)} of ${files.length}`))
      totals.passed += result.passed
      totals.failures.push(...result.failures.map(({ name }) => `${file.name}: ${name}`))
      totals.skips.push(...result.skips.map((skip) => ({ ...skip, file: file.name })))
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, worker))
  return totals
}

/** A process of its own for each file, so that one cannot disturb another. */
async function runFile({ path }) {
  const start = performance.now()
  const result = { passed: 0, failures: [], skips: [], output: '' }
  /** Names of the tests and suites around the next one. */
  const around = []
  const abort = new AbortController()
  const tooLong = new Error(`it takes more than ${fileTimeoutMs} ms`)
  const timer = setTimeout(() => abort.abort(tooLong), fileTimeoutMs)
  for await (const { type, data } of run({ files: [path], signal: abort.signal })) {
    if (type === 'test:stdout' || type === 'test:stderr') result.output += data.message
    if (type === 'test:start') around[data.nesting] = data.name
    if (type === 'test:pass' || type === 'test:fail') {
      const name = [...around.slice(0, data.nesting), data.name].join(' > ')
      // Before Node 22 a file stands above its tests as if it were one, later only where it fails.
      const isFile = data.nesting === 0 && data.name === path
      count(result, {
        ...data,
        name: isFile ? 'the file itself' : name,
        isFile,
        passed: type === 'test:pass',
      })
    }
  }
  clearTimeout(timer)
  if (result.passed + result.failures.length + result.skips.length === 0)
    result.failures.push({ name: 'the file has no tests', details: '' })
  return { ...result, seconds: (performance.now() - start) / 1000 }
}

function count(result, { name, isFile, passed, details, skip, todo }) {
  const put = skip ?? todo
  if (put !== undefined && put !== false)
    result.skips.push({ name, reason: put === true || put === '' ? 'no reason is given' : String(put) })
  else if (passed) result.passed += isFile || details.type === 'suite' ? 0 : 1
  else {
    const { cause, failureType, exitCode, signal } = details.error
    // What failed within it has been told already.
    if (failureType === 'subtestsFailed' || (isFile && result.failures.length > 0)) return
    const ended = isFile && typeof cause === 'string' ? ` (status ${exitCode}, signal ${signal})` : ''
    result.failures.push({ name, details: describe(cause ?? details.error) + ended })
  }
}

/** An AssertionError has told in its message what differs: not all of both sides once more. */
function describe(error) {
  if (typeof error === 'string') return error
  if (typeof error?.stack !== 'string') return inspect(error)
  return error.cause === undefined ? error.stack : `${error.stack}\ncaused by ${describe(error.cause)}`
}

function lines({ name }, { passed, failures, skips, output, seconds }, progress) {
  const counts = [`${passed} passed`]
  if (failures.length > 0) counts.push(`${failures.length} failed`)
  if (skips.length > 0) counts.push(`${skips.length} skipped`)
  const outcome = failures.length > 0 ? 'FAILED' : 'ok    '
  const text = [`${outcome} ${progress} ${seconds.toFixed(1).padStart(6)} s  ${name}: ${counts.join(', ')}`]
  for (const { name, details } of failures)
    text.push(`  FAILED: ${name}`, ...(details ? [indent(details)] : []))
  if (failures.length > 0 && output.trim() !== '') text.push('  what the file printed:', indent(output))
  return text.join('\n')
}

function indent(text) {
  return text.trimEnd().replaceAll(/^(?=.)/gm, '    ')
}
