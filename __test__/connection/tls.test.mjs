// TLS: whom we trust, which name counts, who we are.
import { join } from 'node:path'
import { ConfigError, Limiter, UnavailableError } from 'concurrency-limit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeCertificates, speaksTls, tlsArgs } from '../support/certificates.mjs'
import { rejection, startRedis } from '../support/helpers.mjs'
import { freePort } from '../support/programs.mjs'
import { startSentinel } from '../support/replicas.mjs'

let made, open, closed
const limiters = []

describe.skipIf(!speaksTls())('a server with TLS', () => {
  beforeAll(async () => {
    made = makeCertificates()
    const start = async (auth) => {
      const tlsPort = await freePort()
      return { ...(await startRedis({ args: tlsArgs(made, tlsPort, auth) })), tlsPort }
    }
    ;[open, closed] = await Promise.all([start('no'), start('yes')])
  })

  afterAll(async () => {
    await Promise.all(limiters.map((limiter) => limiter.close()))
    await Promise.all([open.stop(), closed.stop()])
    made.remove()
  })

  function limiterOf(...args) {
    const limiter = new Limiter(...args)
    limiters.push(limiter)
    return limiter
  }

  /**
   * Two limiters with the same options share one limit of 1 by push: the second is let in by the release of the first.
   */
  async function works(...args) {
    const [first, second] = [limiterOf(...args), limiterOf(...args)]
    const config = { key: `works-${limiters.length}`, limit: 1 }
    const lease = await first.acquire(config)
    const next = second.acquire(config)
    expect(await lease.release()).toBe(true)
    expect(await (await next).release()).toBe(true)
  }

  const refused = (...args) => rejection(limiterOf(...args).tryAcquire({ key: 'refused', limit: 1 }))

  test('rediss: with the authority of one’s own', () =>
    works(`rediss://127.0.0.1:${open.tlsPort}`, { tls: { ca: made.ca } }))

  test('valkeys: and a certificate among several, as bytes', () =>
    works(`valkeys://127.0.0.1:${open.tlsPort}`, { tls: { ca: [made.stranger, Buffer.from(made.ca)] } }))

  test('options without a url', () => works({ port: open.tlsPort, tls: { ca: made.ca } }))

  test('a server that nobody vouches for is refused at once, in words that say so', async () => {
    for (const options of [{}, { tls: true }, { tls: { ca: made.stranger } }]) {
      const error = await refused(`rediss://127.0.0.1:${open.tlsPort}`, options)
      expect(error).toBeInstanceOf(UnavailableError)
      expect(error.message).toMatch(/invalid peer certificate/)
      expect(error.address).toBe(`rediss://127.0.0.1:${open.tlsPort}/0`)
    }
  })

  test('rejectUnauthorized: false takes any certificate', () =>
    works(`rediss://127.0.0.1:${open.tlsPort}`, { tls: { rejectUnauthorized: false } }))

  test('the certificate must carry the host’s name, or the servername', async () => {
    const options = { tls: { ca: made.ca } }
    // The name resolves to the same server, but isn't in its certificate.
    expect((await refused(`rediss://localhost:${open.tlsPort}`, options)).message).toMatch(/invalid peer certificate/)
    await works(`rediss://localhost:${open.tlsPort}`, { tls: { ca: made.ca, servername: 'redis.test' } })
    const wrong = { tls: { ca: made.ca, servername: 'other.test' } }
    expect((await refused(`rediss://127.0.0.1:${open.tlsPort}`, wrong)).message).toMatch(/invalid peer certificate/)
  })

  test('a certificate that a server issued to itself is taken when it is given, for its own name', async () => {
    const port = await freePort()
    const server = await startRedis({ args: tlsArgs(made, port, 'no', 'own') })
    const url = `rediss://127.0.0.1:${port}`
    await works(url, { tls: { ca: made.own } })
    await works(url, { tls: { ca: [made.ca, made.own] } })
    await works(url, { tls: { rejectUnauthorized: false } })
    for (const options of [{}, { tls: { ca: made.stranger } }]) {
      const { message } = await refused(url, options)
      expect(message).toContain(
        "invalid peer certificate: it was issued by itself and isn't trusted; give it as tls.ca",
      )
    }
    const { message } = await refused(url, { tls: { ca: made.own, servername: 'other.test' } })
    expect(message).toMatch(/invalid peer certificate: .*other\.test.*; say the name that it has as tls\.servername/)
    await server.stop()
  })

  test('an error names the option that helps', async () => {
    const stranger = await refused(`rediss://127.0.0.1:${open.tlsPort}`, { tls: { ca: made.stranger } })
    expect(stranger.message).toContain('nobody who is trusted has issued it; give its authority, or itself, as tls.ca')
    const name = await refused(`rediss://localhost:${open.tlsPort}`, { tls: { ca: made.ca } })
    expect(name.message).toMatch(/localhost.*; say the name that it has as tls\.servername/)
  })

  test('a server that asks who we are is shown our certificate', async () => {
    await works(`rediss://127.0.0.1:${closed.tlsPort}`, { tls: { ca: made.ca, ...made.client } })
    const error = await refused(`rediss://127.0.0.1:${closed.tlsPort}`, { tls: { ca: made.ca } })
    expect(error).toBeInstanceOf(UnavailableError)
    expect(error.message).toContain('it wants a certificate of ours; give tls.cert and tls.key')
  })

  test.each([
    ['tls.ca', () => ({ ca: 'no certificate' })],
    ['tls.cert', () => ({ cert: 'no certificate', key: made.client.key })],
    ['tls.key', () => ({ cert: made.client.cert, key: 'hunter2' })],
    ['tls.key', () => ({ cert: made.client.cert, key: made.server.key })],
    ['tls.key', () => ({ cert: made.client.cert })],
    ['tls.cert', () => ({ key: made.client.key })],
  ])('%s that can’t be used is a ConfigError before anything is connected: %#', (option, tls) => {
    let error
    try {
      new Limiter('rediss://127.0.0.1', { tls: tls() })
    } catch (thrown) {
      error = thrown
    }
    expect(error).toBeInstanceOf(ConfigError)
    expect(error.option).toBe(option)
    expect(error.message).not.toMatch(/hunter2|BEGIN/)
  })

  test('TLS to a server that doesn’t speak it, and no TLS to one that does, fail within the time', async () => {
    const plain = await refused(`rediss://127.0.0.1:${open.port}`, { tls: { ca: made.ca }, connectTimeout: 1 })
    const tls = await refused(`redis://127.0.0.1:${open.tlsPort}`, { connectTimeout: 1 })
    expect([plain, tls].every((error) => error instanceof UnavailableError)).toBe(true)
  })

  test('different settings of TLS don’t share a connection', async () => {
    const url = `rediss://127.0.0.1:${open.tlsPort}`
    const [safe, unsafe] = [
      limiterOf(url, { tls: { ca: made.ca } }),
      limiterOf(url, { tls: { rejectUnauthorized: false } }),
    ]
    const leases = await Promise.all([safe, unsafe].map((limiter) => limiter.acquire({ key: 'apart', limit: 2 })))
    const [one, other] = leases.map((lease) => lease.leaseId.split('-')[0])
    expect(one).not.toBe(other)
    await Promise.all(leases.map((lease) => lease.release()))
  })

  test('sentinels and the server they name may both want TLS, or one of them', async () => {
    const port = await freePort()
    const file = (name) => join(made.folder, name)
    const sentinel = await startSentinel('safe', open.tlsPort, 1, [
      ...[
        `tls-port ${port}`,
        'tls-auth-clients no',
        'tls-replication yes',
        `tls-ca-cert-file ${file('authority.crt')}`,
      ],
      ...[`tls-cert-file ${file('server.crt')}`, `tls-key-file ${file('server.key')}`],
    ])
    const tls = { ca: made.ca }
    await works(`rediss+sentinel://127.0.0.1:${port}/safe`, { tls })
    const plain = { name: 'safe', nodes: [{ host: '127.0.0.1', port: sentinel.port }], tls: false }
    await works({ tls, sentinel: plain })
    expect(
      (await refused({ tls, sentinel: { ...plain, tls: { ca: made.stranger }, nodes: [`127.0.0.1:${port}`] } }))
        .message,
    ).toMatch(/invalid peer certificate/)
    await sentinel.stop()
  })
})
