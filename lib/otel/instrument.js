'use strict'

// The switch: checks the options, and joins the parts to the tracing channels until it is turned off.

const { tracingChannel } = require('node:diagnostics_channel')
const api = require('@opentelemetry/api')
const config = require('../config.js')
const { Groups } = require('../metrics/groups.js')
const { tracingChannels } = require('../traces.js')
const { metricListeners } = require('./metrics.js')
const { spanListeners } = require('./spans.js')
const { name, version } = require('../../package.json')

function instrument(options = {}) {
  const { metrics, traces, meterProvider, tracerProvider, ...classes } = config.readInstrument(options)
  const groups = new Groups(classes)
  const parts = []
  if (metrics) parts.push(metricListeners((meterProvider ?? api.metrics).getMeter(name, version), groups))
  if (traces) parts.push(spanListeners((tracerProvider ?? api.trace).getTracer(name, version), groups))
  const joined = parts.flatMap(({ listeners }) =>
    Object.entries(listeners).map(([channel, heard]) => ({ channel: tracingChannel(tracingChannels[channel]), heard })),
  )
  for (const { channel, heard } of joined) channel.subscribe(heard)
  return () => {
    for (const { channel, heard } of joined.splice(0)) channel.unsubscribe(heard)
    for (const { stop } of parts.splice(0)) stop?.()
  }
}

module.exports = { instrument }
