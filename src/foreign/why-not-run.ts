/** Explains why a program cannot be started, in terms of what the user has to change. */
import { accessSync, closeSync, constants, existsSync, openSync, readSync, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { messageOf } from '../api/errors.js'
import { printableLine } from '../lib/printable.js'

/** `error` is the failure to start `file`. The system reports only that something does not exist. */
export function whyNotRun(file: string, error: unknown): string {
  const { code } = error as NodeJS.ErrnoException
  const path = findProgram(file)
  if (path === undefined)
    return `there is no program "${file}"${file.includes('/') ? '' : ' in PATH'}: install it, or name another`
  if (code === 'EACCES')
    return (statSync(path).mode & 0o111) === 0
      ? `"${path}" is not executable: make it so with "chmod +x ${path}"`
      : `"${path}" cannot be executed: its file system or its folders do not let this user`
  if (code !== 'ENOENT') return messageOf(error)
  const interpreter = interpreterOf(path)
  if (interpreter === undefined) return messageOf(error)
  const shown = printableLine(interpreter)
  return interpreter.endsWith('\r')
    ? `the first line of "${path}" ends with a carriage return, and so "${shown}" is not found: save it with the line ` +
        'ends of Unix'
    : `the first line of "${path}" names "${shown}", which is not there: install it, or correct the line`
}

function findProgram(file: string): string | undefined {
  if (file.includes('/')) return existsSync(file) ? file : undefined
  const directories = (process.env.PATH ?? '').split(delimiter)
  return directories.map((directory) => join(directory, file)).find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}

/** The interpreter that the first line of a script names. */
export function interpreterOf(path: string): string | undefined {
  const start = Buffer.alloc(256)
  try {
    const fd = openSync(path, 'r')
    readSync(fd, start)
    closeSync(fd)
  } catch {
    return undefined
  }
  return /^#![ \t]*([^ \t\n\0]+)/.exec(start.toString())?.[1]
}
