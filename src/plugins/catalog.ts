/** The plugins that come with nbdkit-ts, by name. Each is imported when it is asked for, and not before. */
// Written by npm run modules.
export const plugins: Readonly<Record<string, () => Promise<{ readonly default: unknown }>>> = {
  data: () => import('./data/data.js'),
  eval: () => import('./eval/eval.js'),
  example1: () => import('./example1/example1.js'),
  example2: () => import('./example2/example2.js'),
  example3: () => import('./example3/example3.js'),
  example4: () => import('./example4/example4.js'),
  file: () => import('./file/file.js'),
  full: () => import('./full/full.js'),
  info: () => import('./info/info.js'),
  memory: () => import('./memory/memory.js'),
  native: () => import('./native/native.js'),
  null: () => import('./null/null.js'),
  ones: () => import('./ones/ones.js'),
  pattern: () => import('./pattern/pattern.js'),
  python: () => import('./python/python.js'),
  random: () => import('./random/random.js'),
  sh: () => import('./sh/sh.js'),
  zero: () => import('./zero/zero.js'),
}
