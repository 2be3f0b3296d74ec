// Certificates of a test's own, made by openssl in a folder of its own: an authority, a server and a client that it
// vouches for, and a stranger that nobody vouches for.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * `{ folder, ca, stranger, own, server, client, remove() }`: files to name to a server, texts to give to a client.
 * `signedAs(name, lines, { genkey, args })` makes one more that the authority signs, with these extensions and
 * arguments to openssl; `openssl(...args)` runs it in the folder.
 */
export function makeCertificates() {
  const folder = mkdtempSync(join(tmpdir(), 'concurrency-limit-tls-'))
  const openssl = (...args) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
  const key = (name) => openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', `${name}.key`)
  const authority = (name) => {
    key(name)
    openssl('req', '-x509', '-new', '-key', `${name}.key`, '-subj', `/CN=${name}`, '-days', '2', '-out', `${name}.crt`)
  }
  const signed = (name, names) => {
    key(name)
    writeFileSync(join(folder, `${name}.ext`), `subjectAltName=${names}\n`)
    openssl('req', '-new', '-key', `${name}.key`, '-subj', `/CN=${name}`, '-out', `${name}.csr`)
    const by = ['-CA', 'authority.crt', '-CAkey', 'authority.key', '-CAcreateserial']
    openssl('x509', '-req', '-in', `${name}.csr`, ...by, '-days', '2', '-extfile', `${name}.ext`, '-out', `${name}.crt`)
  }
  authority('authority')
  authority('stranger')
  key('own')
  const own = ['-subj', '/CN=own', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2']
  openssl('req', '-x509', '-new', '-key', 'own.key', ...own, '-out', 'own.crt')
  signed('server', 'DNS:redis.test,IP:127.0.0.1')
  signed('client', 'DNS:client.test')
  const pem = (file) => readFileSync(join(folder, file), 'utf8')
  const pair = (name) => ({ cert: pem(`${name}.crt`), key: pem(`${name}.key`) })
  /** A certificate that the authority signs, with these lines of extensions and these arguments. */
  const signedAs = (
    name,
    lines,
    { genkey = ['ecparam', '-name', 'prime256v1', '-genkey', '-noout'], args = ['-days', '2'] },
  ) => {
    openssl(genkey[0], '-out', `${name}.key`, ...genkey.slice(1))
    openssl('req', '-new', '-key', `${name}.key`, '-subj', `/CN=${name}`, '-out', `${name}.csr`)
    writeFileSync(join(folder, `${name}.ext`), lines.join('\n'))
    const extensions = lines.length > 0 ? ['-extfile', `${name}.ext`] : []
    const by = ['-CA', 'authority.crt', '-CAkey', 'authority.key', '-CAcreateserial']
    openssl('x509', '-req', '-in', `${name}.csr`, ...by, ...args, ...extensions, '-out', `${name}.crt`)
    return pem(`${name}.crt`)
  }
  return {
    signedAs,
    openssl,
    folder,
    ca: pem('authority.crt'),
    stranger: pem('stranger.crt'),
    own: pem('own.crt'),
    server: pair('server'),
    client: pair('client'),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

/** What makes a redis-server speak TLS on `port`; `auth` is `yes`, `no` or `optional`, `name` whose certificate. */
export function tlsArgs({ folder }, port, auth, name = 'server') {
  const file = (name) => join(folder, name)
  return [
    ...['--tls-port', String(port), '--tls-auth-clients', auth],
    ...['--tls-cert-file', file(`${name}.crt`), '--tls-key-file', file(`${name}.key`)],
    ...['--tls-ca-cert-file', file('authority.crt')],
  ]
}

/**
 * Whether the redis-server of the tests was built with TLS. Without its certificate it doesn't come up, and says why.
 */
export function speaksTls() {
  const args = ['--port', '0', '--tls-port', '1', '--save', '', '--tls-cert-file', '/concurrency-limit/nowhere']
  const bin = process.env.REDIS_SERVER_BIN ?? 'redis-server'
  const { stdout, stderr } = spawnSync(bin, args, { encoding: 'utf8', timeout: 5_000 })
  return !/tls-port|Failed finding TLS support/.test(stdout + stderr)
}
