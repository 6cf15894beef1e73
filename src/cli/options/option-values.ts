/**
 * Parses the arguments of options. Each function throws an Error that says what was wrong and what would be
 * right.
 */
import { readFileSync } from 'node:fs'
import { absolutePath } from '../../api/byte-text.js'
import { parseInteger } from '../../api/parse.js'
import type { LogTarget } from './settings.js'

export function notEmpty(text: string): string {
  if (text === '') throw new Error('it is empty')
  return text
}

/** A path, made absolute at once, because a server in the background changes its directory. */
export function parsePath(text: string): string {
  return absolutePath(notEmpty(text))
}

/** A port number, or the name of a service (services(5)). */
export function parsePort(text: string): number {
  if (!/^\d+$/.test(text)) return portOfService(text)
  const port = Number(text)
  if (port > 65535) throw new Error(`${text} is out of range: expected a port from 0 to 65535`)
  return port
}

function portOfService(name: string): number {
  if (!/^[a-z]/i.test(name))
    throw new Error(`"${name}" is no port: expected a number from 0 to 65535, or the name of a service`)
  const lines = servicesFile().replaceAll(/#.*/g, '').split('\n')
  for (const line of lines) {
    const [first, portAndProtocol = '', ...aliases] = line.split(/\s+/)
    const port = /^(\d+)\/tcp$/.exec(portAndProtocol)?.[1]
    if (port !== undefined && [first, ...aliases].includes(name)) return Number(port)
  }
  throw new Error(`"${name}" is no port number, and no TCP service of that name is in /etc/services`)
}

function servicesFile(): string {
  try {
    return readFileSync('/etc/services', 'utf8')
  } catch {
    return ''
  }
}

const words = ['default', 'stderr', 'syslog', 'null'] as const

export function parseLogTarget(text: string): LogTarget {
  const word = words.find((known) => known === text)
  if (word !== undefined) return word
  if (isAbsolute(text)) return text
  throw new Error(`"${text}" is none of ${words.join(', ')}, nor the absolute path of a file`)
}

function isAbsolute(path: string): path is `/${string}` {
  return path.startsWith('/')
}

/** `NAME.FLAG=N`, kept as text: whether such a flag exists is checked later. */
export function parseDebugFlag(text: string): string {
  const [, value] = /^[\w-]+\.[\w.-]+=(.*)$/.exec(text) ?? []
  if (value === undefined) throw new Error(`"${text}" is not of the form NAME.FLAG=N`)
  parseInteger(value, -(2 ** 31), 2 ** 31 - 1)
  return text
}

/** The name precedes each message, so it must not look like another part of one. */
export function parseName(text: string): string {
  if (/[\p{Cc}[\]]/u.test(text)) throw new Error(`"${text}" has brackets or control characters`)
  return notEmpty(text)
}
