/** The filters that come with nbdkit-ts, by name. Each is imported when it is asked for, and not before. */
export const filters: Readonly<Record<string, () => Promise<{ readonly default: unknown }>>> = {
  delay: () => import('./delay/delay.js'),
  exitlast: () => import('./exitlast/exitlast.js'),
  log: () => import('./log/log.js'),
  offset: () => import('./offset/offset.js'),
  'time-limit': () => import('./time-limit/time-limit.js'),
}
