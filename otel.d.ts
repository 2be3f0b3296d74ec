import type { MeterProvider, TracerProvider } from '@opentelemetry/api'
import type { MetricsOptions } from './index.js'

/** What is measured and traced. Metrics and names of spans carry the class of a key, by `group` and `maxGroups`. */
export interface InstrumentOptions extends MetricsOptions {
  /** Whether there are metrics. Default true. */
  metrics?: boolean | undefined
  /** Whether there are spans. Default true. */
  traces?: boolean | undefined
  /** Default: the global one, as it is at the call. */
  meterProvider?: MeterProvider | undefined
  /** Default: the global one. */
  tracerProvider?: TracerProvider | undefined
}

/**
 * From now on all limiters of this thread are measured and traced. Call it once, after the SDK of OpenTelemetry was
 * started; what began before isn't traced.
 *
 * Returns a function that ends it.
 * @throws {ConfigError}
 */
export function instrument(options?: InstrumentOptions): () => void
