// The types of the package as CommonJS sees them: `require` gives the same names. Checked by `tsc`, never run.
import concurrency = require('concurrency-limit')

const limiter: concurrency.Limiter = new concurrency.Limiter('memory:')
export const lease: Promise<concurrency.Lease> = limiter.acquire({ key: 'k', limit: 1 })
export const isOurs = (error: unknown): boolean => error instanceof concurrency.ConcurrencyLimitError
export const missing = (error: unknown) =>
  error instanceof concurrency.BinaryError ? `${error.package ?? 'none'} ${error.libc ?? ''}` : undefined

// @ts-expect-error there is no default export
concurrency.default
// @ts-expect-error what is inside is not to be imported
type Inside = typeof import('concurrency-limit/lib/bridge.js')

export type { Inside }
