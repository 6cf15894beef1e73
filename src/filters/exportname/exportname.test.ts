import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import type { Export, PluginInstance } from '../../api/plugin.js'
import {
  NBD_OPT_INFO,
  NBD_OPT_LIST,
  NBD_REP_ACK,
  NBD_REP_ERR_PLATFORM,
  NBD_REP_ERR_UNKNOWN,
  NBD_REP_INFO,
  NBD_REP_SERVER,
} from '../../protocol/constants.js'
import { deviceContract, infoData, openDevice } from '../../testing/index.js'
import { Disk, serve } from '../../testing/served-disk.js'
import exportname from './exportname.js'

type Inputs = NonNullable<Parameters<typeof exportname>[0]>

const infoName = 1
const infoDescription = 2

const three: NonNullable<PluginInstance['exports']> = () => [
  { name: 'a', description: 'first' },
  { name: 'b', description: 'second' },
  { name: 'c' },
]

/** A client of a disk with the exports a, b and c, of which b is the default. */
async function connected(t: TestContext, inputs: Inputs, plugin: Partial<PluginInstance> = {}) {
  const disk = new Disk({
    device: { description: 'of the disk' },
    plugin: { exports: three, defaultExport: () => 'b', ...plugin },
  })
  const served = serve(t, disk, { filters: [exportname(inputs)] })
  const client = served.connect()
  await client.greet()
  return {
    ...served,
    disk,
    /** The list of exports, or the text of the error. */
    async list(): Promise<Export[] | string> {
      const replies = await client.option(NBD_OPT_LIST)
      const last = replies.at(-1)
      if (last?.type === NBD_REP_ERR_PLATFORM) return last.data.toString()
      assert.equal(last?.type, NBD_REP_ACK)
      return replies
        .filter(({ type }) => type === NBD_REP_SERVER)
        .map(({ data }) => {
          const end = 4 + data.readUInt32BE(0)
          const [name, description] = [data.toString('utf8', 4, end), data.toString('utf8', end)]
          return description === '' ? { name } : { name, description }
        })
    },
    /** The name and the description of an export, or the text of the error. */
    async info(name: string): Promise<string[] | string> {
      const replies = await client.option(NBD_OPT_INFO, infoData(name, [infoName, infoDescription]))
      const last = replies.at(-1)
      if (last?.type === NBD_REP_ERR_UNKNOWN) return last.data.toString()
      assert.equal(last?.type, NBD_REP_ACK)
      const infos = replies.filter(({ type, data }) => type === NBD_REP_INFO && data.readUInt16BE(0) > 0)
      return infos.map(({ data }) => data.toString('utf8', 2))
    },
  }
}

const kept = [{ name: 'a', description: 'first' }, { name: 'b', description: 'second' }, { name: 'c' }]
const noDefault = 'exportname: there is no default export: a client has to name one'

describe('the list of exportname', () => {
  const lists: [inputs: Inputs, list: Export[] | string][] = [
    [{}, kept],
    [{ list: 'error' }, 'exportname: the exports are not listed'],
    [{ list: 'empty' }, []],
    [{ list: 'defaultonly' }, [{ name: 'b' }]],
    [{ list: 'defaultonly', defaultExport: 'x' }, [{ name: 'x' }]],
    [{ list: 'defaultonly', defaultExport: '' }, [{ name: '' }]],
    [{ list: 'defaultonly', strict: true, names: ['a'] }, []],
    [{ list: 'defaultonly', descriptions: 'fixed:d' }, [{ name: 'b', description: 'd' }]],
    [{ list: 'explicit' }, []],
    [{ list: 'explicit', names: ['z', '', 'a'] }, [{ name: 'z' }, { name: '' }, { name: 'a' }]],
    [{ list: 'explicit', names: ['z'], descriptions: 'fixed:d' }, [{ name: 'z', description: 'd' }]],
    [{ strict: true, names: ['a'] }, kept],
    [{ descriptions: 'none' }, [{ name: 'a' }, { name: 'b' }, { name: 'c' }]],
    [{ descriptions: 'fixed:' }, [{ name: 'a' }, { name: 'b' }, { name: 'c' }]],
    [
      { descriptions: 'script:echo "it is $name"; echo; exit 1', names: ['a'], list: 'explicit' },
      [{ name: 'a', description: 'it is a\n' }],
    ],
  ]
  for (const [inputs, list] of lists)
    test(`is ${JSON.stringify(list)} with ${JSON.stringify(inputs)}`, async (t) =>
      assert.deepEqual(await (await connected(t, inputs)).list(), list))

  test('of a plugin without a list has the default export, or nothing where that is refused', async (t) => {
    for (const [inputs, list] of [
      [{ defaultExport: 'x' }, [{ name: 'x' }]],
      [{ strict: true, names: ['a'] }, []],
    ] as const) {
      const disk = new Disk()
      const { connect } = serve(t, disk, { filters: [exportname(inputs as Inputs)] })
      const client = connect()
      await client.greet()
      const replies = await client.option(NBD_OPT_LIST)
      const names = replies
        .filter(({ type }) => type === NBD_REP_SERVER)
        .map(({ data }) => data.toString('utf8', 4))
      assert.deepEqual(
        names,
        list.map(({ name }) => name),
      )
      assert.equal(replies.at(-1)?.type, NBD_REP_ACK)
    }
  })

  test('is an error where the plugin has one', async (t) => {
    const exports = () => {
      throw Object.assign(new Error('it is gone'), { code: 'EIO' })
    }
    for (const inputs of [{}, { strict: true }])
      assert.match(String(await (await connected(t, inputs, { exports })).list()), /it is gone/)
  })

  test('passes on what is known of the client', async (t) => {
    const asked: unknown[] = []
    const exports: NonNullable<PluginInstance['exports']> = ({ readOnly, tls, connection }) => {
      asked.push([readOnly, tls, connection.id])
      return []
    }
    await (await connected(t, {}, { exports })).list()
    assert.deepEqual(asked, [[false, false, 1]])
  })
})

describe('an export of exportname', () => {
  const none = (name: string) => `exportname: there is no export "${name}"`
  const exports: [inputs: Inputs, name: string, seen: string[] | string][] = [
    [{}, '', ['b', 'of the disk']],
    [{}, 'other', ['other', 'of the disk']],
    [{ defaultExport: 'x' }, '', ['x', 'of the disk']],
    [{ defaultExport: '' }, '', ['', 'of the disk']],
    [{ strict: true, names: ['a'] }, 'a', ['a', 'of the disk']],
    [{ strict: true, names: ['a'] }, 'b', none('b')],
    [{ strict: true, names: ['a'] }, '', noDefault],
    [{ strict: true, names: ['a'], defaultExport: 'a' }, '', noDefault],
    [{ strict: true, names: [''] }, '', ['', 'of the disk']],
    [{ strict: true, names: ['', 'a'], defaultExport: 'a' }, '', ['a', 'of the disk']],
    [{ strict: true, names: [''], defaultExport: 'a' }, '', none('a')],
    [{ strict: true }, 'a', none('a')],
    [{ list: 'error' }, 'a', ['a', 'of the disk']],
    [{ descriptions: 'none' }, 'a', ['a']],
    [{ descriptions: 'fixed:two words' }, 'a', ['a', 'two words']],
    [{ descriptions: 'script:printf "%s!" "$name"' }, '', ['b', 'b!']],
    [{ descriptions: 'script:exit 1' }, 'a', ['a']],
    [{ descriptions: 'script:printf "a\\0b"' }, 'a', ['a', 'a']],
  ]
  for (const [inputs, name, seen] of exports)
    test(`"${name}" is ${JSON.stringify(seen)} with ${JSON.stringify(inputs)}`, async (t) => {
      const { info, disk } = await connected(t, inputs)
      assert.deepEqual(await info(name), seen)
      assert.deepEqual(
        disk.opened.map(({ exportName }) => exportName),
        typeof seen === 'string' ? [] : [seen[0]],
      )
    })

  test('has at most 4096 bytes of what a script prints, and no half character', async (t) => {
    const script = "script:printf '\\303\\244%.0s' $(seq 3000)"
    const { info } = await connected(t, { descriptions: `${script}; printf x` })
    assert.deepEqual(await info('a'), ['a', 'ä'.repeat(2048)])
    const odd = await connected(t, { descriptions: script.replace('printf ', 'printf x; printf ') })
    assert.deepEqual(await odd.info('a'), ['a', `x${'ä'.repeat(2047)}`])
  })

  test('does not wait for a script once its client is gone', async (t) => {
    const { connect, server } = await connected(t, { descriptions: 'script:sleep 1000' })
    const client = connect()
    await client.greet()
    void client.option(NBD_OPT_INFO, infoData('a')).catch(() => {})
    for (let turns = 0; turns < 20; turns++) await new Promise((resolve) => setImmediate(resolve))
    client.stream.destroy()
    await server.shutdown({ graceMs: 0 })
  })
})

test('exportname meets the contract of a device', async () => {
  const device = await openDevice(new Disk().plugin, [exportname({ descriptions: 'fixed:d' })])
  assert.equal(device.description, 'd')
  await deviceContract(device)
  await device.close()
})

const refusals: [inputs: Inputs, message: string][] = [
  [{ descriptions: 'nothing' }, 'exportdesc=nothing: expected keep, none, fixed:TEXT or script:SCRIPT'],
  [{ descriptions: 'keep:' }, 'exportdesc=keep:: expected keep, none, fixed:TEXT or script:SCRIPT'],
  [{ names: ['ä'.repeat(2049)] }, 'a name has 4098 bytes: 4096 at most'],
]
for (const [inputs, message] of refusals)
  test(`exportname refuses ${JSON.stringify(inputs).slice(0, 60)}`, async () => {
    await assert.rejects(openDevice(new Disk().plugin, [exportname(inputs)]), {
      name: 'ConfigError',
      message: `exportname: ${message}`,
    })
  })

test('exportname knows each spelling of its keys and values', () => {
  const { params } = exportname.definition
  assert.equal(params.list.parse('default-only'), 'defaultonly')
  assert.deepEqual(
    [params.defaultExport.keys, params.list.keys, params.strict.keys],
    ['default-export', 'exportname-list', 'exportname-strict'].map((key) => [key, key.replace('-', '_')]),
  )
})
