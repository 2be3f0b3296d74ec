// The observer of a day. It knows what workers wrote and what went wrong when, and nothing of Redis or of the limiter.
// Each rule gives what broke it as `{ text, at, of }`: the moment, and the workers whom it's about.
import { RULES as leases } from './rules/leases.mjs'
import { RULES as requests } from './rules/requests.mjs'
import { RULES as slots } from './rules/slots.mjs'
import { RULES as withoutRedis } from './rules/without-redis.mjs'

const RULES = { ...slots, ...withoutRedis, ...leases, ...requests }

/** What broke which rule: `[{ rule, text, at, of }]`, in the order of their moments. */
export function judge(record) {
  record.allowed = {}
  const wrong = Object.entries(RULES).flatMap(([rule, check]) => [...check(record)].map((one) => ({ rule, ...one })))
  return wrong.sort((one, other) => one.at - other.at)
}
