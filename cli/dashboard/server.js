'use strict'

// Serves the page and its data on loopback. Requests with another name in the Host header are refused: a foreign page
// might point its own name at 127.0.0.1 (DNS rebinding). Slots are freed only if that was allowed, with the token, and
// by requests from the page itself.

const { timingSafeEqual } = require('node:crypto')
const { readFileSync } = require('node:fs')
const { createServer } = require('node:http')
const { join } = require('node:path')

const MOST_BYTES = 4096
const MOST_SHOWN = 200

const FILES = {
  '/': ['page.html', 'text/html; charset=utf-8'],
  '/page.css': ['page.css', 'text/css; charset=utf-8'],
  '/page.js': ['page.js', 'text/javascript; charset=utf-8'],
}

const HEADERS = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-store',
}

class Refused extends Error {
  constructor(status, message) {
    super(message)
    this.status = status
  }
}

/** Compares in constant time. */
function isSame(given, expected) {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)]
  return a.length === b.length && timingSafeEqual(a, b)
}

async function targetOf(request) {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) {
    text += chunk
    if (text.length > MOST_BYTES) throw new Refused(413, 'the body is too long')
  }
  try {
    const { key, leaseId } = JSON.parse(text)
    return { key, leaseId }
  } catch {
    throw new Refused(400, 'the body is not an object in JSON')
  }
}

/** A group for the page: of a long list the first are enough there. */
function shownOf(group, history) {
  if (group.error !== undefined) return { key: group.key, error: group.error.message }
  const [holders, waiters] = [group.holders.slice(0, MOST_SHOWN), group.waiters.slice(0, MOST_SHOWN)]
  return { ...group, holders, waiters, history: history.of(group.key) }
}

class Dashboard {
  #look
  #history
  #release
  #token
  #hosts = new Set()
  #server = createServer((request, response) => this.#serve(request, response))

  /** `look()` gives the newest figures; `release(target)` frees a slot, with `token` alone, or is undefined. */
  constructor({ look, history, release, token }) {
    this.#look = look
    this.#history = history
    this.#release = release
    this.#token = token
  }

  /** Resolves to the port. */
  async listen(wanted) {
    await new Promise((resolve, reject) => {
      this.#server.once('error', reject).listen(wanted, '127.0.0.1', resolve)
    })
    const { port } = this.#server.address()
    for (const name of ['127.0.0.1', 'localhost']) {
      this.#hosts.add(`${name}:${port}`)
      if (port === 80) this.#hosts.add(name)
    }
    return port
  }

  close() {
    this.#server.close()
    this.#server.closeAllConnections()
  }

  async #serve(request, response) {
    const answer = (status, type, body) => response.writeHead(status, { ...HEADERS, 'Content-Type': type }).end(body)
    try {
      answer(200, ...(await this.#answerTo(request)))
    } catch (error) {
      const status = error.status ?? (error.code === 'ERR_CONFIG' ? 400 : 503)
      answer(status, 'application/json', JSON.stringify({ error: error.message }))
    }
  }

  async #answerTo(request) {
    const { method, url, headers } = request
    if (!this.#hosts.has(headers.host)) throw new Refused(403, 'this page is served for 127.0.0.1 and localhost only')
    const [path] = url.split('?')
    if (path === '/api/release') return this.#free(request)
    if (method !== 'GET' && method !== 'HEAD') throw new Refused(405, 'only GET is answered here')
    if (path === '/api/groups') return ['application/json', JSON.stringify(this.#figures())]
    const file = Object.hasOwn(FILES, path) ? FILES[path] : undefined
    if (file === undefined) throw new Refused(404, 'there is no such page')
    return [file[1], readFileSync(join(__dirname, file[0]))]
  }

  #figures() {
    const { groups, ...rest } = this.#look()
    return {
      ...rest,
      mayRelease: this.#release !== undefined,
      groups: groups.map((group) => shownOf(group, this.#history)),
    }
  }

  async #free(request) {
    const { method, headers } = request
    if (this.#release === undefined) throw new Refused(403, 'it was started without --allow-release')
    if (method !== 'POST') throw new Refused(405, 'only POST is answered here')
    if (headers.origin !== `http://${headers.host}`) throw new Refused(403, 'the request comes from another page')
    if (!isSame(headers.authorization ?? '', `Bearer ${this.#token}`))
      throw new Refused(403, 'the token is missing or wrong')
    const target = await targetOf(request)
    return ['application/json', JSON.stringify({ released: await this.#release(target) })]
  }
}

module.exports = { Dashboard }
