/** Finds members that nothing reads: otherwise a misspelt method would be ignored silently. */
import { nearest } from './nearest.js'

/** For types: the names in `T` that are not in `Known`. Private members of a class do not count. */
export type Excess<T, Known> = T extends unknown ? Exclude<keyof T, keyof Known> : never

/**
 * A message about a member that is not known; undefined where all are. An object of a class may have further
 * members: only a method whose name is similar to a known one that the object lacks is refused.
 */
export function unknownMember(value: object, known: ReadonlySet<string>): string | undefined {
  const prototype: unknown = Object.getPrototypeOf(value)
  const isPlain = prototype === Object.prototype || prototype === null
  for (const name of isPlain ? Object.keys(value) : methodsOf(value)) {
    if (known.has(name)) continue
    const near = nearest(
      name,
      [...known].filter((one) => !(one in value)),
    )
    if (isPlain || near !== undefined)
      return `"${name}" is unknown${near === undefined ? '' : `: did you mean "${near}"?`}`
  }
  return undefined
}

function methodsOf(value: object): string[] {
  const names: string[] = []
  for (let one = value; one !== null && one !== Object.prototype; one = Object.getPrototypeOf(one))
    for (const [name, { value: member }] of Object.entries(Object.getOwnPropertyDescriptors(one)))
      if (typeof member === 'function' && name !== 'constructor') names.push(name)
  return names
}

/** The names of a type, with each name listed once. */
export function namesOf<T>(names: Readonly<Record<keyof T & string, true>>): ReadonlySet<string> {
  return new Set(Object.keys(names))
}
