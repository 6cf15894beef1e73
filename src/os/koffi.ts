/** The optional package koffi, which calls functions of the C library. */
import { createRequire } from 'node:module'

export type Koffi = typeof import('koffi')

/** @throws Error where the package is not installed, or does not work here. */
export function loadKoffi(): Koffi {
  return createRequire(import.meta.url)('koffi')
}
