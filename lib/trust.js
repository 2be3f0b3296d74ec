'use strict'

// Whom this process trusts over TLS, as Node.js itself would: the options of the process and of its environment.
//
// What Node.js can't tell is read from where it reads it. A file that can't be read is passed over, as Node.js does,
// which has said so at its start.

const { readFileSync, readdirSync } = require('node:fs')
const { join } = require('node:path')
const tls = require('node:tls')

const read = (file) => {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

const list = (folder) => {
  try {
    return readdirSync(folder).map((name) => join(folder, name))
  } catch {
    return []
  }
}

let known = { key: undefined, value: undefined }

/**
 * `{ processCa, processCaOnly }`: certificates in PEM that are trusted beside the built-in ones, or alone; without
 * `processCa` the built-in ones are all.
 */
function processTrust(env = process.env) {
  if (usesOpenssl(env)) return { processCa: opensslCas(env), processCaOnly: true }
  if (typeof tls.getCACertificates !== 'function') {
    const extra = env.NODE_EXTRA_CA_CERTS ? read(env.NODE_EXTRA_CA_CERTS) : ''
    return extra === '' ? { processCaOnly: false } : { processCa: extra, processCaOnly: false }
  }
  const trusted = tls.getCACertificates('default')
  if (known.key !== trusted) known = { key: trusted, value: besideBuiltIn(trusted) }
  return known.value
}

// Those that Node.js brings are Mozilla's, as ours are: only what differs goes down.
function besideBuiltIn(trusted) {
  const all = new Set(trusted)
  const builtIn = tls.getCACertificates('bundled')
  if (!builtIn.every((certificate) => all.has(certificate))) {
    return { processCa: trusted.join('\n'), processCaOnly: true }
  }
  for (const certificate of builtIn) all.delete(certificate)
  return all.size === 0 ? { processCaOnly: false } : { processCa: [...all].join('\n'), processCaOnly: false }
}

function usesOpenssl({ NODE_OPTIONS = '' }) {
  return [...process.execArgv, ...NODE_OPTIONS.split(/\s+/)].includes('--use-openssl-ca')
}

function opensslCas({ SSL_CERT_FILE, SSL_CERT_DIR, NODE_EXTRA_CA_CERTS }) {
  const folders = (SSL_CERT_DIR ?? '').split(':').filter(Boolean)
  const files = [SSL_CERT_FILE, NODE_EXTRA_CA_CERTS, ...folders.flatMap(list)].filter(Boolean)
  return files.map(read).join('\n')
}

/** Whether the environment says that no certificate is to be checked. */
function trustsAnybody(env = process.env) {
  return env.NODE_TLS_REJECT_UNAUTHORIZED === '0'
}

module.exports = { processTrust, trustsAnybody }
