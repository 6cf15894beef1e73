import { readFileSync } from 'node:fs'

interface Package {
  readonly version: string
  readonly exports: Readonly<Record<string, unknown>>
}

/** The release of nbdkit whose command line, options and lines for scripts we follow. */
export const followed = '1.48'

/** What our own package.json says. Read when it is asked for: a server that starts does not need it. */
export function ourPackage(): Package {
  return JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as Package
}
