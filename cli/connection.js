'use strict'

// The options of a Limiter from flags and environment. The package checks them.

const { readFileSync } = require('node:fs')
const { UsageError } = require('./arguments.js')

function read(flag, file) {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new UsageError(`--${flag}: ${error.message}`)
  }
}

function tlsOf(values) {
  const tls = {}
  for (const member of ['ca', 'cert', 'key']) {
    const file = values[`tls-${member}`]
    if (file !== undefined) tls[member] = read(`tls-${member}`, file)
  }
  if (values['tls-servername'] !== undefined) tls.servername = values['tls-servername']
  return Object.keys(tls).length === 0 ? undefined : tls
}

/** The options of a Limiter, as the flags and the environment say. */
function connectionOf(values, env, { takesMemory = false } = {}) {
  const url = values.redis ?? env.REDIS_URL
  if (!url) throw new UsageError('say where Redis is: --redis URL, or the environment variable REDIS_URL')
  if (!takesMemory && /^memory:/i.test(url)) {
    throw new UsageError('memory: keeps limits inside of one process, so that there is nothing to see from another one')
  }
  return { url, keyPrefix: values.prefix, tls: tlsOf(values), clientName: 'concurrency-limit-cli' }
}

/** Runs `work` with a Limiter of those options, and closes it. */
async function withLimiter(options, work) {
  const { Limiter } = require('../index.js')
  const limiter = new Limiter(options)
  try {
    return await work(limiter)
  } finally {
    await limiter.close()
  }
}

module.exports = { connectionOf, withLimiter }
