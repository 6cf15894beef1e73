/** Explains why a user's file could not be loaded: where the mistake is, and what to do. */
import { existsSync, readFileSync } from 'node:fs'
import { extname } from 'node:path'
import { pathToFileURL } from 'node:url'
import { placeIn } from '../../api/error-text.js'
import { ConfigError, isA, messageOf, propertyOf, stackOf } from '../../api/errors.js'
import { hasModuleSyntax } from './api-hook.js'

/** Errors from before the file runs. An error that the file throws while running does not concern loading. */
const codesOfLoading =
  /^(ERR_)?(MODULE_NOT_FOUND|UNSUPPORTED_DIR_IMPORT|IMPORT_ATTRIBUTE_MISSING|INVALID_TYPESCRIPT_SYNTAX)$/

export function couldNotLoad(error: unknown): boolean {
  return isA(error, SyntaxError) || codesOfLoading.test(codeOf(error)) || needsJiti(error)
}

/**
 * True where Node itself reports TypeScript that it cannot load, or does not find an API that jiti can
 * provide.
 */
export function needsJiti(error: unknown): boolean {
  return isUnknownTypeScript(error) || codeOf(error) in adviceByCode || isRequireOfApi(error)
}

export function isTypeScript(path: string): boolean {
  return /^\.[cm]?ts$/.test(extname(path))
}

const orJiti = 'or "npm install jiti"'

const adviceByCode: Readonly<Record<string, string>> = {
  ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX: `do without it, ${orJiti}`,
  ERR_UNSUPPORTED_NODE_MODULES_TYPE_STRIPPING: 'publish it as JavaScript, or "npm install jiti"',
}

/** Advice for an error; undefined where the message is enough. */
function adviceFor(error: unknown, path: string): string | undefined {
  const message = messageOf(error)
  if (isRequireOfApi(error))
    return 'write "import" in place of "require", or "npm install nbdkit-ts" beside it'
  if (codeOf(error) in adviceByCode) return adviceByCode[codeOf(error)]
  const [, missing = ''] = /^Cannot find module '(\/[^']*)' imported from/.exec(message) ?? []
  const [whole] = ['.ts', '.mts', '.cts', '.js']
    .map((ending) => missing.replace(/\.[cm]?js$/, '') + ending)
    .filter((file) => missing !== '' && existsSync(file))
  if (whole !== undefined) return `there is ${whole}: write its whole name, ${orJiti}`
  if (isTypeScript(path) && / does not provide an export named /.test(message))
    return 'where it is a type, write "import type"'
  return undefined
}

/**
 * Explains an error as `FILE: MESSAGE`, with the line if known, and advice.
 *
 * @param path the file to load; empty for a package, which the caller names.
 */
export function explain(error: unknown, path = ''): string {
  if (isUnknownTypeScript(error)) {
    const node = `Node ${process.versions.node} does not run TypeScript`
    return `${startOf(path)}${node}: use 22.18 or later, ${orJiti}`
  }
  const advice = adviceFor(error, path)
  return `${withPlace(error) ?? withoutPlace(error, path)}${advice === undefined ? '' : `: ${advice}`}`
}

function withoutPlace(error: unknown, path: string): string {
  const [message = ''] = messageOf(error).split('\n', 1)
  if (!isA(error, SyntaxError) || path === '') return startOf(path) + message
  // For JavaScript, Node prints the place of a syntax error only in its own report.
  const line = place(syntaxReport(path))
  return line === undefined
    ? `${path}: SyntaxError in a file that it imports: ${message}`
    : `${line}: SyntaxError: ${message}`
}

function startOf(path: string): string {
  return path === '' ? '' : `${path}: `
}

function syntaxReport(path: string): string {
  const isModule = hasModuleSyntax(pathToFileURL(path).href)
  const args = isModule ? ['--input-type=module', '--check', '-'] : ['--check', path]
  const { stderr } = process
    .getBuiltinModule('node:child_process')
    .spawnSync(process.execPath, args, { input: readFileSync(path), encoding: 'utf8' })
  return stderr.replaceAll(/^\[stdin\]/gm, path)
}

/** `FILE:LINE: MESSAGE`, where the error has a place. */
function withPlace(error: unknown): string | undefined {
  if (!isA(error, Error)) return undefined
  const line = place(stackOf(error))
  const name = error.name === 'Error' || isA(error, ConfigError) ? '' : `${error.name}: `
  return line === undefined ? undefined : `${line}: ${name}${messageOf(error).split('\n', 1)[0]?.trim()}`
}

function place(stack: string): string | undefined {
  const found = placeIn(stack)
  return found && `${found.file}:${found.line}`
}

/** The error of Node before 22.18. */
function isUnknownTypeScript(error: unknown): boolean {
  const isUnknown = /^ERR_UNKNOWN_(FILE_EXTENSION|MODULE_FORMAT)$/.test(codeOf(error))
  return isUnknown && /"\.[cm]?ts"|typescript/.test(messageOf(error))
}

/** `require` does not find the API, because the hook applies only to `import`. */
function isRequireOfApi(error: unknown): boolean {
  return codeOf(error) === 'MODULE_NOT_FOUND' && /^Cannot find module 'nbdkit-ts\b/.test(messageOf(error))
}

function codeOf(error: unknown): string {
  const code = isA(error, Error) ? propertyOf(error, 'code') : undefined
  return typeof code === 'string' ? code : ''
}
