/** The filters that come with nbdkit-ts, by name. Each is imported when it is asked for, and not before. */
// Written by npm run modules.
export const filters: Readonly<Record<string, () => Promise<{ readonly default: unknown }>>> = {
  count: () => import('./count/count.js'),
  delay: () => import('./delay/delay.js'),
  error: () => import('./error/error.js'),
  exitlast: () => import('./exitlast/exitlast.js'),
  exitwhen: () => import('./exitwhen/exitwhen.js'),
  fua: () => import('./fua/fua.js'),
  log: () => import('./log/log.js'),
  'multi-conn': () => import('./multi-conn/multi-conn.js'),
  nocache: () => import('./nocache/nocache.js'),
  noextents: () => import('./noextents/noextents.js'),
  nofilter: () => import('./nofilter/nofilter.js'),
  noparallel: () => import('./noparallel/noparallel.js'),
  nozero: () => import('./nozero/nozero.js'),
  offset: () => import('./offset/offset.js'),
  partition: () => import('./partition/partition.js'),
  readonly: () => import('./readonly/readonly.js'),
  rotational: () => import('./rotational/rotational.js'),
  swab: () => import('./swab/swab.js'),
  'time-limit': () => import('./time-limit/time-limit.js'),
  truncate: () => import('./truncate/truncate.js'),
}
