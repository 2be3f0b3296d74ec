'use strict'

// Reads groups: the result of `limiter.status`, with the longest wait. Read-only.

const AT_ONCE = 32

/** One group; `{ key, error }` if its key has something else. */
async function readGroup(limiter, key) {
  try {
    const status = await limiter.status(key)
    return { ...status, oldestWait: longest(status.waiters.map(({ waited }) => waited)) }
  } catch (error) {
    if (error.code !== 'ERR_PROTOCOL') throw error
    return { key, error }
  }
}

const longest = (waits) => (waits.length === 0 ? null : Math.max(...waits))

/** The groups of these keys, in their order. */
async function readGroups(limiter, keys) {
  const groups = []
  for (let i = 0; i < keys.length; i += AT_ONCE) {
    groups.push(...(await Promise.all(keys.slice(i, i + AT_ONCE).map((key) => readGroup(limiter, key)))))
  }
  return groups
}

/** The keys that exist, sorted, each once; the first `most` that Redis lists, and whether there are more. */
async function listKeys(limiter, pattern, most = Infinity) {
  const keys = new Set()
  for await (const key of limiter.keys(pattern)) {
    if (keys.size === most && !keys.has(key)) return { keys: [...keys].sort(), more: true }
    keys.add(key)
  }
  return { keys: [...keys].sort(), more: false }
}

/** As JSON: an error by its members. */
const toJson = (group) => (group.error === undefined ? group : { key: group.key, error: group.error.toJSON() })

module.exports = { listKeys, readGroup, readGroups, toJson }
