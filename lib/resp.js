'use strict'

// Turns a client library's value of a reply into RESP again: a text with one character per byte, for the core to read.
// It keeps all that the limiter's scripts answer; other kinds of reply become texts.

function resp(value) {
  if (Buffer.isBuffer(value)) return `$${value.length}\r\n${value.latin1Slice()}\r\n`
  if (typeof value === 'number' || typeof value === 'bigint') return `:${value}\r\n`
  if (value === null || value === undefined) return '$-1\r\n'
  if (Array.isArray(value)) {
    let text = `*${value.length}\r\n`
    for (const item of value) text += resp(item)
    return text
  }
  if (value instanceof Error) return `-${value.message.replace(/[^ -~]/g, ' ')}\r\n`
  return resp(Buffer.from(String(value)))
}

/** An error of the server begins with a code; errors of client libraries don't. */
function isFromServer(error) {
  return /^[A-Z][A-Z0-9]+( |$)/.test(error.message)
}

module.exports = { isFromServer, resp }
