// All workloads by name. Each runs in a process of its own: `run(system, url, ms)` gives the figures of one system, or
// `{ rows }` of several; `work` is one process's share of it.
//
// `limit` and `local` say which systems it is for, `not` which can't do it, `tools` which of those it has that only
// some workloads have; `alone` is for ours only.
import { ALONE } from './alone.mjs'
import { CHURN } from './churn.mjs'
import { GROWTH } from './growth.mjs'

export const WORKLOADS = { ...CHURN, ...ALONE, ...GROWTH }

const number = (name) => Number.parseInt(name.slice(1), 10)

/** Those that a run shows, in order. */
export const NAMES = Object.keys(WORKLOADS)
  .filter((name) => !WORKLOADS[name].hidden)
  .sort((a, b) => number(a) - number(b))
