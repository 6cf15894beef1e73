/** Members that nothing reads: a misspelt method would otherwise be left out without a word. */
import { nearest } from './nearest.js'

/** In the types: the names that `T` has and `Known` has not. Private members of a class do not count. */
export type Excess<T, Known> = T extends unknown ? Exclude<keyof T, keyof Known> : never

/**
 * What to say of a member that is not among the known ones; undefined where each is. An object of a class may
 * have further members: only a method is refused whose name is near one that the object lacks.
 */
export function unknownMember(value: object, known: ReadonlySet<string>): string | undefined {
  const isPlain = [Object.prototype, null].includes(Object.getPrototypeOf(value))
  const unknown = (isPlain ? Object.keys(value) : methodsOf(value)).filter((name) => !known.has(name))
  for (const name of unknown) {
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

/** The names of a type, each of them named once. */
export function namesOf<T>(names: Readonly<Record<keyof T & string, true>>): ReadonlySet<string> {
  return new Set(Object.keys(names))
}
