'use strict'

// Groups, holders and waiters as lines of text.

const { bar, duration, safe, table } = require('./text.js')

const DASH = '-'
const shown = (text) => (text === null || text === undefined || text === '' ? DASH : safe(text))

const heldOf = ({ held, limit }) => `${held}/${limit === 0 ? '?' : limit}`

/** The cells of a group's line: key, bar, held/limit, waiting, longest wait. */
function groupCells(group, look) {
  const { key, error, held, limit, waiting, oldestWait } = group
  if (error !== undefined) return [look.pen.red(safe(error.message))] // it names the key
  const inLine = waiting > 0 ? look.pen.yellow(String(waiting)) : look.pen.dim('0')
  return [safe(key), bar(held, limit, look), heldOf(group), inLine, oldestWait === null ? DASH : duration(oldestWait)]
}

const GROUP_HEADS = ['KEY', 'USE', 'HELD', 'WAITING', 'LONGEST WAIT']

/** A table of groups; the lines of those that can't be read come after it. */
function groupTable(groups, look) {
  const readable = groups.filter(({ error }) => error === undefined)
  const lines = table([GROUP_HEADS.map(look.pen.dim), ...readable.map((group) => groupCells(group, look))])
  return [...lines, ...groups.filter(({ error }) => error).flatMap((group) => groupCells(group, look))]
}

const slotsOf = ({ slots }) => {
  const [first, last] = [slots[0], slots.at(-1)]
  if (slots.length === 1) return String(first)
  return last - first === slots.length - 1 ? `${first}-${last}` : slots.join(',')
}

/** The process of a holder or waiter, as far as it's known: program, host and process id. */
const processOf = ({ host, pid, program }) =>
  pid === null ? DASH : `${program === null ? '' : `${safe(program)} `}${safe(host ?? '?')}:${pid}`

const HOLDER_HEADS = ['SLOT', 'HELD FOR', 'ENDS IN', 'LABEL', 'HOLDER', 'PROCESS', 'LEASE']
const holderCells = (holder) => [
  slotsOf(holder),
  duration(holder.heldFor),
  duration(holder.endsIn),
  shown(holder.label),
  shown(holder.holder),
  processOf(holder),
  holder.leaseId,
]

const WAITER_HEADS = ['WAITS FOR', 'WANTS', 'PRIORITY', 'LABEL', 'HOLDER', 'PROCESS', 'LEASE']
const waiterCells = (waiter) => [
  duration(waiter.waited),
  `${waiter.weight} of ${waiter.limit}`,
  String(waiter.priority),
  shown(waiter.label),
  shown(waiter.holder),
  processOf(waiter),
  waiter.leaseId,
]

const holderRows = (holders, { pen }) => [HOLDER_HEADS.map(pen.dim), ...holders.map(holderCells)]
const waiterRows = (waiters, { pen }) => [WAITER_HEADS.map(pen.dim), ...waiters.map(waiterCells)]

/** A group with its holders and waiters, at most `most` of each. */
function groupDetail(group, look, most = Infinity) {
  const { error, holders, waiters } = group
  if (error !== undefined) return groupCells(group, look)
  const [key, use, held, inLine, wait] = groupCells(group, look)
  const line = `${look.pen.bold(key)}  ${use}  ${held} held, ${inLine} waiting`
  const lines = [group.waiting > 0 ? `${line}, the longest for ${wait}` : line]
  if (holders.length > 0) lines.push(...table(holderRows(holders.slice(0, most), look), '  '))
  lines.push(...rest(holders, most, 'holders'))
  if (waiters.length > 0) lines.push(...table(waiterRows(waiters.slice(0, most), look), '  '))
  return [...lines, ...rest(waiters, most, 'waiters')]
}

const rest = (list, most, what) => (list.length > most ? [`  … and ${list.length - most} more ${what}`] : [])

module.exports = { groupDetail, groupTable, processOf, slotsOf }
