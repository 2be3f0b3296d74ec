'use strict'

// The screen of `watch` as lines, never more or wider than it is.

const { groupDetail, groupTable, processOf, slotsOf } = require('../show.js')
const { cut, duration, safe } = require('../text.js')
const { moved } = require('./state.js')

const HEAD_LINES = 2
const FOOT_LINES = 1

const sum = (groups, name) => groups.reduce((total, group) => total + (group[name] ?? 0), 0)

function heading(state, { pen }, note) {
  const { groups, shown, filter, sort } = state
  const figures = `${groups.length} groups  ${sum(groups, 'held')} held  ${sum(groups, 'waiting')} waiting`
  const chosen = filter === '' ? '' : `  filter: ${safe(filter)} (${shown.length})`
  return `${pen.bold('concurrency-limit')}  ${figures}${chosen}  sorted by ${sort}${note === '' ? '' : `  ${pen.red(note)}`}`
}

function hints(state, { pen }) {
  if (state.asked !== null) return pen.yellow(question(state))
  if (state.isFiltering) return `filter: ${safe(state.filter)}${pen.dim('▏ Enter keeps it, Esc drops it')}`
  if (state.message !== '') return pen.yellow(safe(state.message))
  if (state.open !== null) return pen.dim('↑↓ holder   x free its slot   Esc back   q quit')
  return pen.dim('↑↓ move   Enter open   / filter   s sort   q quit')
}

function question({ holders, asked }) {
  const holder = holders.find(({ leaseId }) => leaseId === asked)
  const names = [holder.label && safe(holder.label), holder.pid !== null && processOf(holder)].filter(Boolean)
  const who = names.length > 0 ? `, ${names.join(', ')},` : ''
  return `Free slot ${slotsOf(holder)}${who} held for ${duration(holder.heldFor)}? Its work may still run. y/N`
}

/** The lines around the one with the cursor that fit. */
function around(lines, at, height) {
  const first = Math.max(0, Math.min(at - Math.floor(height / 2), lines.length - height))
  return lines.slice(first, first + height)
}

const marked = (lines, at, { pen }) => lines.map((line, i) => (i === at ? `${pen.cyan('›')} ${line}` : `  ${line}`))

function listLines(state, look, height) {
  const { shown, selected } = state
  const keys = shown.map(({ key }) => key)
  const [heads, ...lines] = groupTable(shown, look)
  const at = keys.indexOf(moved(keys, selected, 0))
  return [`  ${heads}`, ...around(marked(lines, at, look), at, height - 1)]
}

function openLines(state, look, height) {
  const { opened, holders, lease } = state
  if (opened === undefined) return [`${safe(state.open)}: there is no such group any more`]
  const [line, ...lines] = groupDetail(opened, look)
  const ids = holders.map(({ leaseId }) => leaseId)
  const at = ids.indexOf(moved(ids, lease, 0)) + 1 // below the heads
  return [line, ...around(marked(lines, ids.length === 0 ? -1 : at, look), at, height - 1)]
}

/** The whole screen; `note` says what is wrong, if anything. */
function screen(state, look, { columns, rows }, note = '') {
  const height = Math.max(1, rows - HEAD_LINES - FOOT_LINES)
  const body = state.open === null ? listLines(state, look, height) : openLines(state, look, height)
  const filled = [...body.slice(0, height), ...Array(Math.max(0, height - body.length)).fill('')]
  const lines = [heading(state, look, note), '', ...filled, hints(state, look)]
  return lines.slice(-rows).map((text) => cut(text, columns))
}

module.exports = { screen }
