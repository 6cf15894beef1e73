/** Where a server listens for -i, -4 and -6 in every combination, and where it does not. */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { networkInterfaces } from 'node:os'
import { describe, it } from 'node:test'
import { complains, started } from './cli-helpers.js'

const hasIpv6 = Object.values(networkInterfaces()).some((list) =>
  list?.some(({ address }) => address === '::1'),
)
const onIpv6 = hasIpv6 ? {} : { skip: 'this machine has no IPv6' }

function reaches(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port }, () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}

const v4 = '127.0.0.1'
const v6 = '::1'
const combinations: [options: string, listens: string[], host: string][] = [
  ['', [v4, v6], 'localhost'],
  ['-4', [v4], 'localhost'],
  ['-6', [v6], 'localhost'],
  ['-4 -6', [v6], 'localhost'],
  ['-6 -4', [v4], 'localhost'],
  ['-i 127.0.0.1', [v4], '127.0.0.1'],
  ['-i 127.0.0.1 -4', [v4], '127.0.0.1'],
  ['-i ::1', [v6], '[::1]'],
  ['-6 -i ::1', [v6], '[::1]'],
  ['-i 0.0.0.0', [v4], 'localhost'],
  ['-i ::', [v6], 'localhost'],
  ['-6 -i ::', [v6], 'localhost'],
  ['-i 0.0.0.0 -i ::', [v4, v6], 'localhost'],
  ['-i :: -i 0.0.0.0', [v4, v6], 'localhost'],
  ['-i 127.0.0.1 -i ::1', [v4, v6], '127.0.0.1'],
  ['-i ::1 -i 127.0.0.1', [v4, v6], '[::1]'],
  ['-i 127.0.0.1 -i 127.0.0.1', [v4], '127.0.0.1'],
  ['-i localhost -4', [v4], 'localhost'],
  ['-i LocalHost -4', [v4], 'LocalHost'],
]

describe('the server listens where options say, and nowhere else', { concurrency: 3, ...onIpv6 }, () => {
  for (const [options, listens, host] of combinations)
    it(options === '' ? 'without any' : options, async () => {
      const { child, ended, uri } = await started([...options.split(' ').filter(Boolean), '-p', '0', 'null'])
      const port = Number(/:(\d+)$/.exec(uri)?.[1])
      assert.equal(uri, `nbd://${host}:${port}`)
      const reached = []
      for (const address of [v4, v6]) if (await reaches(address, port)) reached.push(address)
      child.kill()
      assert.equal((await ended).status, 0)
      assert.deepEqual(reached, listens)
    })
  const refused: [options: string, message: RegExp][] = [
    ['-4 -i ::1', /^-i: ::1 is an IPv6 address, which -4 excludes$/],
    ['-6 -i 127.0.0.1', /^-i: 127\.0\.0\.1 is an IPv4 address, which -6 excludes$/],
    ['-i 127.0.0.1 -i ::1 -4', /^-i: ::1 is an IPv6 address, which -4 excludes$/],
    ['-i 192.0.2.1', /^cannot listen on 192\.0\.2\.1:\d+: this machine has no such address$/],
    ['-i [::1]', /^-i: no address of "\[::1\]" is found/],
    ['-i 127.0.0.1:80', /^-i: no address of "127\.0\.0\.1:80" is found/],
    ['-i ::ffff:127.0.0.1', /^cannot listen on ::ffff:127\.0\.0\.1:/],
  ]
  for (const [options, message] of refused)
    it(`${options} is refused`, () => complains(message, ['-f', '-p', '0', ...options.split(' '), 'null']))
  it('an empty address is refused', () => complains('--ipaddr: it is empty', ['-f', '-i', '', 'null']))
})
