'use strict'

// The subpath `concurrency-limit/otel`: what the package's tracing channels tell, as spans and metrics of
// OpenTelemetry. The only part that needs `@opentelemetry/api`.

const { instrument } = require('./lib/otel/instrument.js')

module.exports.instrument = instrument
