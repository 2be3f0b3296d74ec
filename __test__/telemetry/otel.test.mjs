// `concurrency-limit/otel` with OpenTelemetry's own SDK: spans under the caller's span, and metrics by the class of
// keys.
import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node'
import { Limiter } from 'concurrency-limit'
import { instrument } from 'concurrency-limit/otel'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { useRedis } from '../support/fixtures.mjs'
import { redis, rejection, until } from '../support/helpers.mjs'

const server = useRedis()
const exporter = new InMemorySpanExporter()
const tracerProvider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
const reader = new PeriodicExportingMetricReader({
  exporter: new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE),
  exportIntervalMillis: 3_600_000,
})
const meterProvider = new MeterProvider({ readers: [reader] })
let limiter
let stop
beforeAll(() => {
  tracerProvider.register() // sets the global provider, and the context manager on AsyncLocalStorage
  limiter = new Limiter(server.url, { clientName: 'measured' })
  stop = instrument({ meterProvider, group: (key) => key.split('/')[0] })
})
afterEach(() => exporter.reset())
afterAll(async () => {
  stop()
  await limiter.close()
  await meterProvider.shutdown()
  await tracerProvider.shutdown()
})

const tracer = trace.getTracer('test')
const spans = (name) => exporter.getFinishedSpans().filter((span) => span.name === name)

/** Runs `work` in a span of its own; that span and what came of it. */
async function inSpan(name, work) {
  const span = tracer.startSpan(name)
  const result = await context.with(trace.setSpan(context.active(), span), work)
  span.end()
  return { span, result }
}

describe('spans', () => {
  test.each([
    ['withLimit', (config, work) => limiter.withLimit(config, work)],
    ['wrap', (config, work) => limiter.wrap(config, work)()],
  ])('by %s: the wait, the hold, and under that what the work begins', async (_, run) => {
    const config = { key: 'pay/7', limit: 2, label: 'l' }
    const work = async () => {
      await new Promise((resolve) => setTimeout(resolve, 2))
      tracer.startSpan('work').end()
      return 'done'
    }
    const { span, result } = await inSpan('caller', () => run(config, work))
    expect(result).toBe('done')
    const [[wait], [hold], [inner]] = ['acquire pay', 'hold pay', 'work'].map(spans)
    expect([wait, hold].map(({ parentSpanContext }) => parentSpanContext.spanId)).toEqual(
      Array(2).fill(span.spanContext().spanId),
    )
    expect(inner.parentSpanContext.spanId).toBe(hold.spanContext().spanId)
    expect([wait.kind, hold.kind]).toEqual([SpanKind.CLIENT, SpanKind.INTERNAL])
    const both = {
      'db.system.name': 'redis',
      'db.namespace': '0',
      'server.address': '127.0.0.1',
      'server.port': server.port,
      'concurrency_limit.key': 'pay/7',
      'concurrency_limit.group': 'pay',
      'concurrency_limit.limit': 2,
      'concurrency_limit.label': 'l',
      'concurrency_limit.slot': 1,
    }
    expect(wait.attributes).toMatchObject({ ...both, 'concurrency_limit.result': 'acquired' })
    expect(hold.attributes).toMatchObject({ ...both, 'concurrency_limit.outcome': 'released' })
    for (const one of [wait, hold]) expect(one.status.code).toBe(SpanStatusCode.UNSET)
  })

  test.each([
    ['acquire and release', async (config) => (await limiter.acquire(config)).release()],
    ['await using', async (config) => (await limiter.acquire(config))[Symbol.asyncDispose]()],
    ['tryAcquire', async (config) => (await limiter.tryAcquire(config)).release()],
  ])('by %s: both under the caller, who stays in his own', async (_, run) => {
    const { span } = await inSpan('caller', async () => {
      const before = trace.getActiveSpan()
      await run({ key: 'pay/8', limit: 1 })
      expect(trace.getActiveSpan()).toBe(before)
    })
    for (const [one] of ['acquire pay', 'hold pay'].map(spans)) {
      expect(one.parentSpanContext.spanId).toBe(span.spanContext().spanId)
    }
  })

  test('of many at once each have their own caller', async () => {
    const callers = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        inSpan(`caller ${i}`, () => limiter.withLimit({ key: 'many', limit: 3, label: `${i}` }, () => {})),
      ),
    )
    for (const name of ['acquire many', 'hold many']) {
      const parents = spans(name).map((one) => [
        one.attributes['concurrency_limit.label'],
        one.parentSpanContext.spanId,
      ])
      expect(Object.fromEntries(parents)).toEqual(
        Object.fromEntries(callers.map(({ span }, i) => [`${i}`, span.spanContext().spanId])),
      )
    }
  })

  test('of a refusal have an error, but not those of an abort and of tryAcquire', async () => {
    const lease = await limiter.acquire({ key: 'full', limit: 1 })
    await rejection(limiter.acquire({ key: 'full', limit: 1, limitTimeout: 0.02 }))
    await rejection(limiter.acquire({ key: 'full', limit: 1, signal: AbortSignal.timeout(20) }))
    await limiter.tryAcquire({ key: 'full', limit: 1 })
    await lease.release()
    const said = spans('acquire full').map(({ attributes, status }) => [
      attributes['concurrency_limit.result'],
      attributes['error.type'],
      status.code,
    ])
    expect(said).toEqual([
      ['acquired', undefined, SpanStatusCode.UNSET],
      ['timed_out', 'ERR_LIMIT_EXCEEDED', SpanStatusCode.ERROR],
      ['request_canceled', undefined, SpanStatusCode.UNSET],
      ['full', undefined, SpanStatusCode.UNSET],
    ])
  })

  test('of a lease that is lost end then, with the reason', async () => {
    const lease = await limiter.acquire({ key: 'lost', limit: 1, limitHold: 0.1 })
    await until(() => lease.lost, 'it is lost')
    const [hold] = spans('hold lost')
    expect(hold.status.code).toBe(SpanStatusCode.ERROR)
    expect(hold.attributes).toMatchObject({ 'concurrency_limit.outcome': 'lost', 'error.type': 'ERR_LEASE_LOST' })
    expect(hold.attributes['concurrency_limit.reason']).toMatch(/^(held_too_long|expired)$/)
    await lease.release()
    expect(spans('hold lost')).toHaveLength(1)
  })

  test('of connecting stand alone, for each attempt', async () => {
    const other = new Limiter(server.url, { db: 3, clientName: 'connects' })
    await inSpan('caller', () => other.withLimit({ key: 'connects', limit: 1 }, () => {}))
    const [, id] = /id=(\d+) [^\n]*name=connects /.exec(await redis(server.port, 'CLIENT', 'LIST'))
    await redis(server.port, 'CLIENT', 'KILL', 'ID', id)
    await until(() => spans('connect').length === 2, 'it is connected again')
    for (const [i, one] of spans('connect').entries()) {
      expect(one.parentSpanContext).toBe(undefined)
      expect([one.kind, one.status.code]).toEqual([SpanKind.CLIENT, SpanStatusCode.UNSET])
      expect(one.attributes).toEqual({
        'db.system.name': 'redis',
        'db.namespace': '3',
        'server.address': '127.0.0.1',
        'server.port': server.port,
        'concurrency_limit.reconnect': i === 1,
      })
    }
    await other.close()
  })

  test('of an attempt to connect that fails have its error', async () => {
    const lonely = new Limiter('redis://127.0.0.1:1', { connectTimeout: 0.2 })
    await rejection(lonely.acquire({ key: 'lonely', limit: 1, limitTimeout: 0 }))
    await lonely.close()
    const [one] = spans('connect')
    expect(one.status).toEqual({ code: SpanStatusCode.ERROR, message: expect.stringContaining('refused') })
    expect(one.attributes).toMatchObject({ 'server.port': 1, 'error.type': 'Error' })
  })
})

describe('metrics', () => {
  /** All points: `name {attribute: value} → value`, with what the instrument is. */
  async function collect() {
    const { resourceMetrics, errors } = await reader.collect()
    expect(errors).toEqual([])
    const all = resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics)
    const short = (name) => name.replace('concurrency_limit.', '')
    const points = all.flatMap(({ descriptor, dataPoints }) =>
      dataPoints.map(({ attributes, value }) => {
        const labels = Object.entries(attributes).map(([name, said]) => `${short(name)}=${said}`)
        return [[short(descriptor.name), ...labels.sort()].join(' '), value]
      }),
    )
    const instruments = all.map(({ descriptor }) => [short(descriptor.name), descriptor.type, descriptor.unit])
    return { value: Object.fromEntries(points), instruments, all }
  }

  test('have names without units, and units of UCUM', async () => {
    const { instruments } = await collect()
    expect(instruments.sort()).toEqual([
      ['acquire.duration', 'HISTOGRAM', 's'],
      ['handoffs', 'OBSERVABLE_COUNTER', '{lease}'],
      ['lease.duration', 'HISTOGRAM', 's'],
      ['leases.lost', 'COUNTER', '{lease}'],
      ['reconnects', 'OBSERVABLE_COUNTER', '{connection}'],
      ['redis.calls', 'OBSERVABLE_COUNTER', '{call}'],
      ['request.oldest_wait', 'OBSERVABLE_GAUGE', 's'],
      ['request.waiting', 'OBSERVABLE_UP_DOWN_COUNTER', '{request}'],
      ['slot.limit', 'OBSERVABLE_GAUGE', '{slot}'],
      ['slot.usage', 'OBSERVABLE_UP_DOWN_COUNTER', '{slot}'],
      ['slots.kept', 'OBSERVABLE_COUNTER', '{slot}'],
    ])
  })

  test('say who holds, who waits, and how long it took', async () => {
    const lease = await limiter.acquire({ key: 'metric/anna', limit: 2, weight: 2 })
    const waits = limiter.acquire({ key: 'metric/bert', limit: 2 }).then((other) => other.release())
    const queued = limiter.acquire({ key: 'metric/anna', limit: 2 })
    await waits
    await until(async () => (await limiter.status('metric/anna')).waiting === 1, 'one waits')
    const { value } = await collect()
    expect(value).toMatchObject({
      'slot.limit group=metric': 2,
      'slot.usage group=metric state=held': 2,
      'request.waiting group=metric': 1,
      'acquire.duration group=metric result=acquired': { count: 2 },
      'lease.duration group=metric outcome=released': { count: 1 },
    })
    expect(value['request.oldest_wait group=metric']).toBeGreaterThan(0)
    expect(JSON.stringify(value)).not.toMatch(/anna|bert/)
    await lease.release()
    await (await queued).release()
    const after = (await collect()).value
    expect(after).toMatchObject({ 'slot.usage group=metric state=held': 0, 'request.waiting group=metric': 0 })
    expect(after['handoffs kind=pushed'] + after['handoffs kind=polled']).toBeGreaterThan(0)
  })

  test('count each session once, also after it has ended', async () => {
    const before = (await collect()).value['redis.calls']
    const twins = [1, 2].map(() => new Limiter(server.url, { keyPrefix: 'twins' }))
    for (const twin of twins) await twin.withLimit({ key: 'k', limit: 1 }, () => {})
    const { calls } = await twins[0].stats()
    const own = (await limiter.stats()).calls
    expect((await collect()).value['redis.calls']).toBe(calls + own)
    await Promise.all(twins.map((twin) => twin.close()))
    const after = (await collect()).value['redis.calls']
    expect(after).toBeGreaterThanOrEqual(calls + own)
    expect(after).toBeGreaterThan(before)
  })
})

test('what is stopped says nothing more, and stopping twice is harmless', async () => {
  const more = new InMemorySpanExporter()
  const other = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(more)] })
  const end = instrument({ tracerProvider: other, metrics: false })
  await limiter.withLimit({ key: 'stop', limit: 1 }, () => {})
  expect(more.getFinishedSpans()).toHaveLength(2)
  end()
  end()
  await limiter.withLimit({ key: 'stop', limit: 1 }, () => {})
  expect(more.getFinishedSpans()).toHaveLength(2)
})

test('a bad option is named', () => {
  for (const [name, value] of [
    ['group', 'k'],
    ['maxGroups', 0],
    ['traces', 1],
    ['meterProvider', {}],
    ['spans', true],
  ]) {
    expect(() => instrument({ [name]: value })).toThrow(expect.objectContaining({ code: 'ERR_CONFIG', option: name }))
  }
})
