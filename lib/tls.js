'use strict'

// The options of TLS, as Node.js means them: what is given, and what the process says where nothing is.
//
// Certificates are read by the core. A key that is encrypted is opened here, since Node.js can.

const { createPrivateKey } = require('node:crypto')
const { ConfigError } = require('./errors.js')
const { boolean, check, fits, object, rules, secret, text } = require('./rules.js')
const { conceal } = require('./told.js')
const { processTrust, trustsAnybody } = require('./trust.js')
const { warnOfAnybody } = require('./warnings.js')

const PEM_BYTES = 1024 * 1024
const ENCRYPTED = /-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED/

const isPem = (value) =>
  (typeof value === 'string' && fits(value, 1, PEM_BYTES)) ||
  (ArrayBuffer.isView(value) && value.byteLength > 0 && value.byteLength <= PEM_BYTES)
const isPems = (value) => isPem(value) || (Array.isArray(value) && value.length > 0 && value.every(isPem))
const isHost = (value) =>
  typeof value === 'string' && /^[a-zA-Z0-9_.:%-]{1,255}$/.test(value) && URL.canParse(`redis://${inUrl(value)}`)

const MEMBERS = {
  ca: secret(object(isPems, 'certificates in PEM: a string, a Buffer or a list of them', undefined)),
  cert: secret(object(isPem, 'a certificate in PEM: a string or a Buffer', undefined)),
  key: secret(object(isPem, 'a private key in PEM: a string or a Buffer', undefined)),
  passphrase: secret(text(1, 4096, undefined)),
  servername: object(isHost, 'a host name or an IP address', undefined),
  rejectUnauthorized: boolean(true),
}

/** What Node.js takes as well, and what to do instead. */
const NOT_TAKEN = {
  pfx: 'nothing: give cert and key in PEM, which `openssl pkcs12 -in file -nodes` makes of it',
  crl: 'nothing: revocation lists are not looked at',
  checkServerIdentity: 'nothing: say as servername which name the certificate has',
  secureContext: 'nothing: give ca, cert and key',
  minVersion: 'nothing: TLS 1.2 and 1.3 are spoken',
  maxVersion: 'nothing: TLS 1.2 and 1.3 are spoken',
  secureProtocol: 'nothing: TLS 1.2 and 1.3 are spoken',
  ciphers: 'nothing: the ciphers are those of TLS 1.3, and of 1.2 with ECDHE and AEAD',
}
const TLS = rules(MEMBERS, 'tls', NOT_TAKEN)
const SENTINEL_TLS = rules(MEMBERS, 'sentinel.tls', NOT_TAKEN)

/** TLS as the bridge takes it: `isOn`, and the settings. */
function readTls(members, given, what) {
  if (given === undefined || given === false) {
    return given === undefined ? undefined : { isOn: false, processCaOnly: false, rejectUnauthorized: true }
  }
  const { ca, cert, key, passphrase, servername, rejectUnauthorized } =
    given === true ? {} : check(members, given, what)
  return {
    isOn: true,
    ca: pemText(ca),
    ...(ca === undefined ? processTrust() : { processCaOnly: false }),
    cert: pemText(cert),
    key: openKey(pemText(key), passphrase, what),
    servername,
    rejectUnauthorized: rejectUnauthorized ?? isVerifying(),
  }
}

function isVerifying() {
  if (!trustsAnybody()) return true
  warnOfAnybody()
  return false
}

function openKey(key, passphrase, what) {
  if (key === undefined && passphrase !== undefined) {
    throw new ConfigError(`${what}.passphrase`, conceal(passphrase), `nothing without ${what}.key`)
  }
  if (key === undefined || !ENCRYPTED.test(key)) return key
  if (passphrase === undefined) {
    throw new ConfigError(`${what}.passphrase`, undefined, `the passphrase of ${what}.key, which is encrypted`)
  }
  try {
    return createPrivateKey({ key, passphrase }).export({ type: 'pkcs8', format: 'pem' })
  } catch {
    throw new ConfigError(`${what}.passphrase`, conceal(passphrase), `the passphrase of ${what}.key`)
  }
}

function pemText(pem) {
  if (pem === undefined || typeof pem === 'string') return pem
  if (Array.isArray(pem)) return pem.map(pemText).join('\n')
  return Buffer.from(pem.buffer, pem.byteOffset, pem.byteLength).toString('utf8')
}

/** A host as it stands in a URL. */
function inUrl(host) {
  return host.includes(':') ? `[${host}]` : host
}

module.exports = { SENTINEL_TLS, TLS, inUrl, isHost, readTls }
