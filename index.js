'use strict'

// The package's entry: what users may name, each on a line of its own so that `import { Limiter }` finds it.
// Also the Limiter that withLimit shares by default; it's made at first use.

Symbol.asyncDispose ??= Symbol.for('nodejs.asyncDispose')

const { ConfigError, ...errors } = require('./lib/errors.js')
const { Limiter } = require('./lib/limiter.js')
const { tracingChannels } = require('./lib/traces.js')

let defaultLimiter = null

async function withLimit(config, fn) {
  defaultLimiter ??= new Limiter()
  return defaultLimiter.withLimit(config, fn)
}

function setDefaultLimiter(limiter) {
  if (!(limiter instanceof Limiter)) throw new ConfigError('limiter', limiter, 'a Limiter')
  defaultLimiter = limiter
}

module.exports.Limiter = Limiter
module.exports.withLimit = withLimit
module.exports.setDefaultLimiter = setDefaultLimiter
module.exports.tracingChannels = tracingChannels
module.exports.ConcurrencyLimitError = errors.ConcurrencyLimitError
module.exports.ConcurrencyLimitExceededError = errors.ConcurrencyLimitExceededError
module.exports.QueueFullError = errors.QueueFullError
module.exports.LeaseLostError = errors.LeaseLostError
module.exports.UnavailableError = errors.UnavailableError
module.exports.ConfigError = ConfigError
module.exports.ClosedError = errors.ClosedError
module.exports.ProtocolError = errors.ProtocolError
module.exports.BinaryError = errors.BinaryError
