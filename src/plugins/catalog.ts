/** The plugins that come with nbdkit-ts, by name. Each is imported when it is asked for, and not before. */
export const plugins: Readonly<Record<string, () => Promise<{ readonly default: unknown }>>> = {
  file: () => import('./file/file.js'),
  memory: () => import('./memory/memory.js'),
  null: () => import('./null/null.js'),
}
