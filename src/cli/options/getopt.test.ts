import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConfigError } from '../../api/errors.js'
import { getopt } from './getopt.js'

const known = [
  { names: ['foreground', 'no-fork'], short: 'f' },
  { names: ['verbose'], short: 'v' },
  { names: ['version'], short: 'V' },
  { names: ['no-sr'] },
  { names: ['export', 'export-name', 'exportname'], short: 'e', placeholder: 'NAME' },
  { names: ['unix'], short: 'U', placeholder: 'SOCKET' },
  { names: ['run'], placeholder: 'COMMAND' },
]

/** The options as `name` or `name=value`, then the words. */
function parsed(...argv: string[]): [options: string[], words: readonly string[]] {
  const { options, words } = getopt(argv, known)
  const names = options.map(({ option, value }) =>
    option.placeholder === undefined ? `${option.names[0]}` : `${option.names[0]}=${value}`,
  )
  return [names, words]
}

const good: [means: string, argv: string[], options: string[], words: string[]][] = [
  ['nothing is nothing', [], [], []],
  ['words are kept in order', ['null', 'a=1', 'b'], [], ['null', 'a=1', 'b']],
  [
    'options may follow words',
    ['null', '-f', 'size=1', '-U', 's'],
    ['foreground', 'unix=s'],
    ['null', 'size=1'],
  ],
  ['two dashes end the options', ['-f', '--', '-v', '--run'], ['foreground'], ['-v', '--run']],
  ['only the first two dashes do', ['--', 'a', '--', '-f'], [], ['a', '--', '-f']],
  ['one dash is a word', ['-', '-f'], ['foreground'], ['-']],
  ['an empty word is a word', ['', 'null'], [], ['', 'null']],
  ['a long option stands alone', ['--verbose'], ['verbose'], []],
  ['a long option takes its argument after =', ['--unix=/s'], ['unix=/s'], []],
  ['a long option takes the next word', ['--unix', '/s', 'null'], ['unix=/s'], ['null']],
  ['an argument may hold =', ['--run=a=b'], ['run=a=b'], []],
  ['an argument after = may be empty', ['--run=', 'null'], ['run='], ['null']],
  ['an argument may be an empty word', ['--run', '', 'null'], ['run='], ['null']],
  ['an argument may look like an option', ['--run', '-f', '-U', '--'], ['run=-f', 'unix=--'], []],
  ['an argument may be one dash', ['-U', '-', '--unix', '-'], ['unix=-', 'unix=-'], []],
  ['an argument may span lines', ['--run=a\nb'], ['run=a\nb'], []],
  ['a synonym is the same option', ['--no-fork', '--export-name=x'], ['foreground', 'export=x'], []],
  ['a unique prefix is enough', ['--foreg', '--verb'], ['foreground', 'verbose'], []],
  ['a prefix takes an argument', ['--un=s', '--r', 'true'], ['unix=s', 'run=true'], []],
  ['a prefix of a synonym is enough', ['--no-f'], ['foreground'], []],
  ['an exact name wins over longer ones', ['--export=x'], ['export=x'], []],
  ['names of one option are no ambiguity', ['--exp=x', '--exportn', 'y'], ['export=x', 'export=y'], []],
  ['a letter stands alone', ['-f', '-v'], ['foreground', 'verbose'], []],
  ['letters may be joined', ['-fvV'], ['foreground', 'verbose', 'version'], []],
  ['a letter takes what follows it', ['-U/s', '-U-'], ['unix=/s', 'unix=-'], []],
  ['a letter takes the next word', ['-U', '/s', 'null'], ['unix=/s'], ['null']],
  ['joined letters end at one that takes an argument', ['-fvUvf'], ['foreground', 'verbose', 'unix=vf'], []],
  ['the last of joined letters takes the next word', ['-fU', 's'], ['foreground', 'unix=s'], []],
  ['= is nothing special after a letter', ['-e=x'], ['export==x'], []],
  ['the same option may come twice', ['-ea', '-e', 'b'], ['export=a', 'export=b'], []],
]
for (const [means, argv, options, words] of good)
  test(`getopt: ${means}`, () => assert.deepEqual(parsed(...argv), [options, words]))

const bad: [means: string, argv: string[], message: RegExp][] = [
  ['an unknown option', ['--tracks'], /^unknown option --tracks \(see/],
  [
    'an unknown option near a known one',
    ['--verbsoe'],
    /^unknown option --verbsoe: did you mean --verbose\? /,
  ],
  ['an unknown option after a word', ['null', '--tracks'], /unknown option --tracks/],
  ['a prefix of two options', ['--ver'], /^option --ver is ambiguous: --verbose, --version$/],
  ['a prefix of a name and of a synonym', ['--no'], /^option --no is ambiguous: --no-fork, --no-sr$/],
  ['a name that is empty', ['--=x'], /^unknown option -- /],
  [
    'an argument to an option without',
    ['--verbose=1'],
    /^option --verbose takes no argument, and was given "1"$/,
  ],
  [
    'an empty argument to an option without',
    ['--verb='],
    /^option --verb takes no argument, and was given ""$/,
  ],
  ['a long option whose argument is missing', ['--run'], /^option --run needs an argument: --run COMMAND$/],
  ['a letter whose argument is missing', ['-fU'], /^option -U needs an argument: -U SOCKET$/],
  ['an unknown letter', ['-x'], /^unknown option -x \(see/],
  ['an unknown letter among others', ['-fxv'], /^unknown option -x in -fxv /],
  ['several arguments in one word', ['-f -v'], /^unknown option - {2}in "-f -v" \(.*"env -S"/],
]
for (const [means, argv, message] of bad)
  test(`getopt refuses ${means}`, () =>
    assert.throws(
      () => parsed(...argv),
      (error) => error instanceof ConfigError && message.test(error.message),
    ))

test('getopt expands words after the first, once, and reads what they stand for', () => {
  const files: Readonly<Record<string, readonly string[]>> = {
    '@a': ['-v', '@b', 'x=1'],
    '@b': [],
    '@c': ['--'],
  }
  const argv = ['@a', '@a', '-U', '@b', '@b', 'y', '@c', '-f', '@b']
  const { options, words } = getopt(argv, known, (word) => files[word])
  assert.deepEqual(
    options.map(({ option, value }) => option.names[0] + value),
    ['verbose', 'unix@b'],
  )
  assert.deepEqual(words, ['@a', '@b', 'x=1', 'y', '-f'])
})

test('getopt leaves the words that it was given as they were', () => {
  const argv = ['-U', 's', 'null']
  getopt(argv, known)
  assert.deepEqual(argv, ['-U', 's', 'null'])
})
