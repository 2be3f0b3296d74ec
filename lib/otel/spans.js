'use strict'

// A span for the wait and one for the hold, both children of the span in which the request was made. The work of
// withLimit and wrap runs inside of the hold's span; with acquire it can't, since the caller goes on by itself. An
// attempt to connect has a span without a parent: a connection is everybody's.

const { ROOT_CONTEXT, SpanKind, SpanStatusCode, context: contexts, trace } = require('@opentelemetry/api')
const { attributes } = require('../metrics/instruments.js')

/** The listeners for all three channels. */
function spanListeners(tracer, groups) {
  const spans = new WeakMap() // context of a channel → its span

  const begin = (context, name, kind, attributes, parent) => {
    const span = tracer.startSpan(name, { kind, attributes: { ...placeOf(context), ...attributes } }, parent)
    spans.set(context, span)
    return span
  }

  const starts = (operation, kind, more) => (context) => {
    const group = groups.of(context.key)
    return begin(context, `${operation} ${group}`, kind, { ...termsOf(context, group), ...more(context) })
  }

  const ends = (more) => (context) => {
    const span = spans.get(context)
    if (span === undefined) return
    spans.delete(context)
    span.setAttributes(more(context))
    if (context.error !== undefined && context.outcome !== 'request_canceled') fail(span, context.error)
    span.end()
  }

  const holds = starts('hold', SpanKind.INTERNAL, holdOf)

  return {
    listeners: {
      acquire: {
        start: starts('acquire', SpanKind.CLIENT, ({ priority }) => ({ 'concurrency_limit.priority': priority })),
        asyncEnd: ends(({ outcome, slot, waited }) => ({
          [attributes.result]: outcome,
          'concurrency_limit.slot': slot,
          'concurrency_limit.waited': waited,
        })),
      },
      hold: {
        start: (context) => {
          const span = holds(context)
          const inner = context.around ?? ((work) => work())
          context.around = (work) => contexts.with(trace.setSpan(contexts.active(), span), () => inner(work))
        },
        asyncEnd: ends(({ outcome, reason }) => ({ [attributes.outcome]: outcome, [attributes.reason]: reason })),
      },
      connect: {
        start: (context) => begin(context, 'connect', SpanKind.CLIENT, {}, ROOT_CONTEXT),
        asyncEnd: ends(({ isReconnect }) => ({ 'concurrency_limit.reconnect': isReconnect })),
      },
    },
  }
}

function placeOf({ serverAddress, serverPort, db }) {
  if (serverAddress === undefined) return {}
  return {
    'db.system.name': 'redis',
    'db.namespace': String(db),
    'server.address': serverAddress,
    'server.port': serverPort,
  }
}

function termsOf({ key, limit, weight, label }, group) {
  return {
    'concurrency_limit.key': key,
    [attributes.group]: group,
    'concurrency_limit.limit': limit,
    'concurrency_limit.weight': weight,
    'concurrency_limit.label': label,
  }
}

function holdOf({ slot, leaseId, fencingToken, standIn, waited }) {
  return {
    'concurrency_limit.slot': slot,
    'concurrency_limit.lease_id': leaseId,
    'concurrency_limit.fencing_token': fencingToken,
    'concurrency_limit.stand_in': standIn,
    'concurrency_limit.waited': waited,
  }
}

function fail(span, error) {
  span.setAttribute('error.type', error?.code ?? error?.name ?? '_OTHER')
  span.setStatus({ code: SpanStatusCode.ERROR, message: error?.message })
}

module.exports = { spanListeners }
