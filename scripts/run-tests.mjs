/** Runs test files, several at a time, and prints one line for each, with details only for failures. */
import { availableParallelism } from 'node:os'
import { run } from 'node:test'
import { inspect } from 'node:util'

/** The longest time for one file, in ms: a slow, busy machine is no reason to fail. */
const fileTimeoutMs = 10 * 60_000

/**
 * @typedef {{ name: string, file: string, reason: string }} Skip
 * @typedef {{ passed: number, failures: string[], skips: Skip[] }} Totals
 *
 * @param {{ name: string, path: string }[]} files Started in this order: those that take long should come
 * first.
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

/** Runs each file in its own process, so that files cannot disturb each other. */
async function runFile({ path }) {
  const start = performance.now()
  const result = { passed: 0, failures: [], skips: [], output: '' }
  /** Names of the tests and suites that enclose the next one. */
  const around = []
  const abort = new AbortController()
  const tooLong = new Error(`it takes more than ${fileTimeoutMs} ms`)
  const timer = setTimeout(() => abort.abort(tooLong), fileTimeoutMs)
  for await (const { type, data } of run({ files: [path], signal: abort.signal })) {
    if (type === 'test:stdout' || type === 'test:stderr') result.output += data.message
    if (type === 'test:start') around[data.nesting] = data.name
    if (type === 'test:pass' || type === 'test:fail') {
      const name = [...around.slice(0, data.nesting), data.name].join(' > ')
      // Before Node 22, a file is reported above its tests like a test. Later, only if it fails.
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
    // Failures within it have been reported already.
    if (failureType === 'subtestsFailed' || (isFile && result.failures.length > 0)) return
    const ended = isFile && typeof cause === 'string' ? ` (status ${exitCode}, signal ${signal})` : ''
    result.failures.push({ name, details: describe(cause ?? details.error) + ended })
  }
}

/** The message of an AssertionError already shows the difference, so do not print both sides again. */
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
