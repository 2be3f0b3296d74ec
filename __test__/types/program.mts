// The types say what the code does: checked by `tsc`, never run. Each line under an expectation must be a mistake.
import { tracingChannel } from 'node:diagnostics_channel'
import {
  type AcquireContext,
  type ConcurrencyLimitError,
  ConcurrencyLimitExceededError,
  type ConnectContext,
  type ConnectionOptions,
  type HoldContext,
  type Lease,
  type LimitConfig,
  Limiter,
  type NodeAddress,
  type SentinelOptions,
  setDefaultLimiter,
  type TlsOptions,
  tracingChannels,
  withLimit,
} from 'concurrency-limit'
import { instrument } from 'concurrency-limit/otel'

const config: LimitConfig = { key: 'k', limit: 10 }
const limiter = new Limiter()
new Limiter('redis://localhost', { settle: 0 } satisfies ConnectionOptions)
new Limiter({ host: 'h', port: 1, db: 1, username: 'u', password: 'p', clientName: 'c', keyPrefix: 'k' })

new Limiter('rediss://localhost', { tls: { ca: [Buffer.from(''), ''], rejectUnauthorized: false } })
new Limiter({ path: '/run/redis.sock', minReplicas: 1, replicaTimeout: 0.5, maxConnections: 2, releaseOn: ['SIGTERM'] })
new Limiter({ cluster: ['h:1', { host: 'h', port: 1 }] })
new Limiter({ sentinel: { name: 'm', nodes: ['h:1', { host: 'h' }], username: 'u', password: 'p', tls: true } })
new Limiter({ username: () => 'u', password: async () => 'p', tls: { key: '', cert: '', passphrase: 'p' } })
new Limiter({ sentinel: { password: () => 'p' }, natMap: { 'h:1': { host: 'i', port: 1 }, 'h:2': 'i:2' } })
new Limiter({ cluster: ['h'], natMap: async (address: string) => (address === 'h:1' ? 'i:1' : undefined) })
new Limiter({ cluster: ['h'], nodeAddressMap: () => ({ host: 'i', port: 1 }) } satisfies ConnectionOptions)

const all: Required<LimitConfig> = {
  key: 'k',
  limit: 1,
  limitTimeout: Infinity,
  limitInterval: 0.1,
  limitExpire: 60,
  weight: 1,
  priority: 0,
  maxWaiting: 0,
  renew: false,
  limitHold: 1,
  limitKeep: 0,
  holder: 'h',
  label: 'l',
  signal: new AbortController().signal,
  rejectOnLoss: true,
}

// Whatever may be left out may be undefined as well, also under exactOptionalPropertyTypes.
type Nothing<T> = { [K in keyof T as object extends Pick<T, K> ? K : never]-?: undefined }
declare const noTerms: Nothing<LimitConfig>
declare const nowhere: Nothing<ConnectionOptions>
declare const noTls: Nothing<TlsOptions>
declare const noSentinel: Nothing<SentinelOptions>
declare const noAddress: Nothing<Exclude<NodeAddress, string>>
export const request: LimitConfig = { ...noTerms, key: 'k', limit: 1 }
export const place: ConnectionOptions = nowhere
export const tls: TlsOptions = noTls
export const sentinel: SentinelOptions = noSentinel
export const address: NodeAddress = { ...noAddress, host: 'h' }
new Limiter(undefined, undefined).close({ release: undefined })
limiter.release({ key: 'k', holder: undefined, leaseId: 'l' })
limiter.release({ key: 'k', holder: 'h', leaseId: undefined })

export const slot: number = await withLimit(all, (lease) => lease.slot)
export const { warnings }: { warnings: string[] } = await limiter.ready({ timeout: 1, signal: undefined })
export const text: string = await limiter.withLimit(config, async () => 'x')
export const tried: Lease | null = await limiter.tryAcquire(config)
export const released: boolean = await limiter.release({ key: 'k', holder: 'h' })
export const cleaned: number = await limiter.clean('k')
setDefaultLimiter(limiter)

await using lease = await limiter.acquire(config)
export const held: readonly number[] = lease.slots
export const given: Promise<boolean> = lease.release()
const { release } = lease
export const byItself: Promise<boolean> = release()
for await (const key of limiter.keys('a*')) key.toUpperCase()

export const wrapped: (page: number) => Promise<string> = limiter.wrap(config, async (page: number) => `${page}`)
export const byCustomer = limiter.wrap(
  (customer: string, _page: number) => ({ key: customer, limit: 1 }),
  (customer, page) => `${customer.toUpperCase()} ${page.toFixed()}`,
)
export const rendered: string = await byCustomer('acme', 1)

const channel = tracingChannel<unknown, HoldContext>(tracingChannels.hold)
channel.subscribe({
  start: (context) => {
    context.around = (work) => work()
    // @ts-expect-error what is told isn't to be changed
    context.key = 'x'
  },
  end: () => {},
  asyncStart: () => {},
  asyncEnd: ({ outcome, reason, held, error }) => `${outcome} ${reason} ${held?.toFixed()} ${error?.why}`,
  error: ({ limiter, serverAddress }) => limiter.emit('warning', { message: serverAddress ?? '' }),
})
export const acquired = ({ outcome, result, waited }: AcquireContext) => outcome === 'acquired' && result && waited
export const connected = ({ isReconnect, db }: ConnectContext): unknown[] => [isReconnect, db]
export const text004: string = await limiter.metrics({ group: (key) => key.slice(0, 3), maxGroups: 10 })
export const stopMeasuring: () => void = instrument({ group: undefined, traces: false })
// @ts-expect-error a class is a text
instrument({ group: () => 1 })

limiter.on('lost', ({ key, slot, error }) => `${key} ${slot.toFixed()} ${error.why}`)
limiter.on('disconnect', ({ message }) => message.toUpperCase())

try {
  await limiter.acquire(config)
} catch (error) {
  if (error instanceof ConcurrencyLimitExceededError) {
    const after: number | undefined = error.retryAfter
    const code: 'ERR_LIMIT_EXCEEDED' = error.code
    const base: ConcurrencyLimitError = error
    console.log(after, code, base)
  }
}

// @ts-expect-error key is required
limiter.acquire({ limit: 1 })
// @ts-expect-error limit is required
limiter.acquire({ key: 'k' })
// @ts-expect-error the name is limitTimeout
limiter.acquire({ key: 'k', limit: 1, timeout: 1 })
// @ts-expect-error seconds are numbers
limiter.acquire({ key: 'k', limit: 1, limitTimeout: '1' })
// @ts-expect-error certificates are text or bytes
new Limiter({ tls: { ca: 5 } })
// @ts-expect-error passwords are texts
new Limiter({ password: () => 5 })
// @ts-expect-error addresses have a host
new Limiter({ natMap: { 'h:1': 5 } })
// @ts-expect-error the url comes first, or in the options, not twice
new Limiter('redis://h', { url: 'redis://h' })
// @ts-expect-error a lease can't be written
lease.slot = 2
// @ts-expect-error it may be null
limiter.tryAcquire(config).then((lease) => lease.slot)
// @ts-expect-error holder or leaseId
limiter.release({ key: 'k' })
// @ts-expect-error no such event
limiter.on('gone', () => {})
// @ts-expect-error errors aren't made by users
new ConcurrencyLimitExceededError()
