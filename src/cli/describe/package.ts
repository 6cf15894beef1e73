import { readFileSync } from 'node:fs'

interface Package {
  readonly version: string
  readonly exports: Readonly<Record<string, unknown>>
}

/** The release of nbdkit that our command line, options and lines for scripts follow. */
export const followed = '1.48'

/** The content of our own package.json. Read on demand: a starting server does not need it. */
export function ourPackage(): Package {
  return JSON.parse(readFileSync(new URL('../../../../package.json', import.meta.url), 'utf8')) as Package
}
