// TLS as Node.js does it: whom the process trusts, what `rejectUnauthorized: false` takes, and errors that name what
// helps.
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import tls from 'node:tls'
import { ConfigError, Limiter } from 'concurrency-limit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeCertificates, speaksTls, tlsArgs } from '../support/certificates.mjs'
import { rejection, runNode, startRedis } from '../support/helpers.mjs'
import { freePort } from '../support/programs.mjs'

const PLAIN = 'subjectAltName=IP:127.0.0.1'

/** Certificates that can't be verified, each with what is said of it. */
const ODD = {
  expired: [[PLAIN], { args: ['-days', '-1'] }, /it has expired; the server needs a new one/],
  nameless: [
    ['basicConstraints=CA:FALSE'],
    {},
    /it was made for no name at all \(subjectAltName\), so not for 127\.0\.0\.1/,
  ],
  'of another name': [
    ['subjectAltName=DNS:other.test'],
    {},
    /it isn't valid for 127\.0\.0\.1.*say the name that it has as tls\.servername/,
  ],
  'for clients only': [[PLAIN, 'extendedKeyUsage=clientAuth'], {}, /it wasn't made for servers \(extendedKeyUsage\)/],
  'of an authority': [
    [PLAIN, 'basicConstraints=critical,CA:TRUE'],
    {},
    /it was issued by itself|nobody who is trusted/,
  ],
  'of version 1': [[], {}, /version 1|damaged, or made in a way that can't be checked/],
  'of P-521': [
    [PLAIN],
    { genkey: ['ecparam', '-name', 'secp521r1', '-genkey', '-noout'] },
    /we speak|can't be checked/,
  ],
}

describe.skipIf(!speaksTls())('TLS', () => {
  let made, server, url
  const ends = []

  beforeAll(async () => {
    made = makeCertificates()
    const tlsPort = await freePort()
    server = await startRedis({ args: tlsArgs(made, tlsPort, 'no') })
    url = `rediss://127.0.0.1:${tlsPort}`
    writeFileSync(join(made.folder, 'both.crt'), `${made.stranger}\n${made.ca}`)
  })

  afterAll(async () => {
    for (const end of ends.reverse()) await end()
    await server.stop()
    made.remove()
  })

  const refused = async (...args) => {
    const limiter = new Limiter(...args)
    const error = await rejection(limiter.tryAcquire({ key: 'k', limit: 1 }))
    await limiter.close()
    return error
  }

  async function works(...args) {
    const limiter = new Limiter(...args)
    expect(await limiter.withLimit({ key: 'k', limit: 1 }, ({ slot }) => slot)).toBe(1)
    await limiter.close()
  }

  const thrown = (options) => {
    try {
      new Limiter('rediss://127.0.0.1', options)
    } catch (error) {
      return error
    }
  }

  /** What a process of its own says that connects without `tls.ca`: a slot, or the error. */
  async function inProcess({ args = [], env = {}, before = '', options = {} }) {
    const source = `
      import { Limiter } from 'concurrency-limit'
      import tls from 'node:tls'
      import { readFileSync } from 'node:fs'
      ${before}
      const limiter = new Limiter(${JSON.stringify(url)}, ${JSON.stringify({ settle: 0, ...options })})
      try {
        console.log(await limiter.withLimit({ key: 'process', limit: 9 }, ({ slot }) => slot > 0))
      } catch (error) {
        console.log(error.message)
      }
      await limiter.close()`
    const { output } = await runNode([...args, '--input-type=module'], { source, env, bound: 20_000 })
    return output.trim()
  }

  const file = (name) => join(made.folder, name)

  test.each([
    ['NODE_EXTRA_CA_CERTS', () => ({ env: { NODE_EXTRA_CA_CERTS: file('both.crt') } })],
    [
      '--use-openssl-ca and SSL_CERT_FILE',
      () => ({ args: ['--use-openssl-ca'], env: { SSL_CERT_FILE: file('authority.crt') } }),
    ],
    [
      'NODE_OPTIONS=--use-openssl-ca and SSL_CERT_DIR',
      () => ({ env: { NODE_OPTIONS: '--use-openssl-ca', SSL_CERT_DIR: made.folder } }),
    ],
    [
      'tls.getCACertificates()',
      () => ({
        before: `const own = [...tls.rootCertificates, readFileSync(${JSON.stringify(file('authority.crt'))}, 'utf8')]
        tls.getCACertificates = (kind) => (kind === 'bundled' ? tls.rootCertificates : own)`,
      }),
    ],
    [
      'tls.setDefaultCACertificates() of others alone',
      () => ({
        before: `const own = [readFileSync(${JSON.stringify(file('authority.crt'))}, 'utf8')]
        tls.getCACertificates = (kind) => (kind === 'bundled' ? tls.rootCertificates : own)`,
      }),
    ],
    ['NODE_TLS_REJECT_UNAUTHORIZED=0', () => ({ env: { NODE_TLS_REJECT_UNAUTHORIZED: '0' } })],
  ])('%s is heeded', async (_, options) => {
    expect(await inProcess(options())).toMatch(/^true$/m)
  })

  test.each([
    ['without any of it', () => ({})],
    ['NODE_EXTRA_CA_CERTS that names no file', () => ({ env: { NODE_EXTRA_CA_CERTS: file('nowhere.crt') } })],
    [
      'tls.ca beside NODE_EXTRA_CA_CERTS',
      () => ({
        env: { NODE_EXTRA_CA_CERTS: file('authority.crt') },
        options: { tls: { ca: made.stranger } },
      }),
    ],
    [
      'rejectUnauthorized: true beside NODE_TLS_REJECT_UNAUTHORIZED=0',
      () => ({
        env: { NODE_TLS_REJECT_UNAUTHORIZED: '0' },
        options: { tls: { rejectUnauthorized: true } },
      }),
    ],
    [
      'nobody at all',
      () => ({ before: 'tls.getCACertificates = (kind) => (kind === "bundled" ? tls.rootCertificates : [])' }),
    ],
  ])('%s the server is refused', async (_, options) => {
    expect(await inProcess(options())).toContain(
      'nobody who is trusted has issued it; give its authority, or itself, as tls.ca',
    )
  })

  test.runIf(typeof tls.setDefaultCACertificates === 'function')(
    'tls.setDefaultCACertificates() is heeded',
    async () => {
      const before = `tls.setDefaultCACertificates([readFileSync(${JSON.stringify(file('authority.crt'))}, 'utf8')])`
      expect(await inProcess({ before })).toBe('true')
    },
  )

  test.each(Object.entries(ODD))(
    'a certificate %s: refused in words, and taken without checks',
    async (name, [lines, how, words]) => {
      const word = name.replaceAll(' ', '-')
      made.signedAs(word, lines, how)
      const port = await freePort()
      const odd = await startRedis({ args: tlsArgs(made, port, 'no', word), age: 0 }).catch(() => null)
      // OpenSSL's own settings may forbid a server such a key.
      if (odd === null) return
      ends.push(odd.stop)
      await works(`rediss://127.0.0.1:${port}`, { settle: 0, tls: { rejectUnauthorized: false } })
      const error = await refused(`rediss://127.0.0.1:${port}`, { settle: 0, tls: { ca: made.ca }, connectTimeout: 3 })
      expect(error.message).toMatch(words)
      expect(error.message).not.toMatch(/[A-Z][a-z]+[A-Z][a-zA-Z]+\(|InvalidCertificate|Other\(/)
    },
  )

  test('a pinned certificate of an authority that nobody has', () => works(url, { tls: { ca: made.server.cert } }))

  test('a server that wants a certificate of ours says so by the options', async () => {
    const port = await freePort()
    const strict = await startRedis({ args: tlsArgs(made, port, 'yes'), age: 0 })
    ends.push(strict.stop)
    const without = await refused(`rediss://127.0.0.1:${port}`, { tls: { ca: made.ca } })
    expect(without.message).toContain('it wants a certificate of ours; give tls.cert and tls.key')
    made.openssl('req', '-x509', '-new', '-key', 'stranger.key', '-subj', '/CN=x', '-days', '2', '-out', 'x.crt')
    const other = { cert: readFileSync(file('x.crt'), 'utf8'), key: readFileSync(file('stranger.key'), 'utf8') }
    const unknown = await refused(`rediss://127.0.0.1:${port}`, { tls: { ca: made.ca, ...other } })
    expect(unknown.message).toMatch(/give another tls\.cert/)
    for (const { message } of [without, unknown]) expect(message).not.toMatch(/alert: |CertificateRequired|UnknownCA/)
  })

  test('keys that are encrypted, and their passphrases', async () => {
    made.openssl('pkcs8', '-topk8', '-in', 'client.key', '-passout', 'pass:sesame', '-out', 'locked.key')
    const locked = { cert: made.client.cert, key: readFileSync(file('locked.key'), 'utf8') }
    await works(url, { tls: { ca: made.ca, ...locked, passphrase: 'sesame' } })
    expect(thrown({ tls: locked })).toMatchObject({ code: 'ERR_CONFIG', option: 'tls.passphrase' })
    const wrong = thrown({ tls: { ...locked, passphrase: 'hunter2' } })
    expect(wrong).toMatchObject({ code: 'ERR_CONFIG', option: 'tls.passphrase' })
    expect(wrong.message).not.toContain('hunter2')
  })

  test.each([
    ['tls.key', () => ({ cert: made.client.cert, key: made.server.key }), /not of another one/],
    ['tls.pfx', () => ({ pfx: Buffer.from('hunter2') }), /give cert and key in PEM/],
    ['tls.crl', () => ({ crl: 'hunter2' }), /revocation lists/],
    ['tls.checkServerIdentity', () => ({ checkServerIdentity: () => {} }), /servername/],
    ['tls.minVersion', () => ({ minVersion: 'TLSv1.2' }), /TLS 1\.2 and 1\.3/],
    ['tls.cyphers', () => ({ cyphers: 'hunter2' }), /unknown option/],
  ])('%s that can’t be used is named with what to do', (option, options, words) => {
    const error = thrown({ tls: options() })
    expect(error).toBeInstanceOf(ConfigError)
    expect(error.option).toBe(option)
    expect(error.message).toMatch(words)
    expect(error.message).not.toMatch(/hunter2|Mismatch/)
  })

  test('what speaks no TLS is told to be so', async () => {
    const plain = createServer((socket) =>
      socket.on('error', () => {}).end('-ERR what is this\r\n', () => socket.destroy()),
    )
    await new Promise((resolve) => plain.listen(0, '127.0.0.1', resolve))
    ends.push(() => new Promise((resolve) => plain.close(resolve)))
    const error = await refused(`rediss://127.0.0.1:${plain.address().port}`)
    expect(error.message).toContain(
      "what answers there doesn't speak TLS as it should; if it speaks none, write redis: or tls: false",
    )
    const other = await refused(url.replace('rediss:', 'redis:'), { connectTimeout: 3 })
    expect(other.message).toContain('hung up without a word; if it speaks TLS, write rediss: or tls: true')
  })
})
