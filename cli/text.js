'use strict'

// Output for a terminal: colours, bars, lengths of time, tables. Texts of others (keys, labels, names) are shown
// without control characters.

const { stripVTControlCharacters } = require('node:util')

const ESCAPE = '\u001b'
const COLOURS = { bold: [1, 22], dim: [2, 22], red: [31, 39], green: [32, 39], yellow: [33, 39], cyan: [36, 39] }

/** Whether colours are wanted on this stream: by FORCE_COLOR, NO_COLOR, else if it is a terminal. */
function wantsColour(stream, env) {
  if (env.FORCE_COLOR !== undefined) return env.FORCE_COLOR !== '0' && env.FORCE_COLOR !== 'false'
  if (env.NO_COLOR) return false
  return stream.isTTY === true && env.TERM !== 'dumb'
}

/** Functions that colour a text, or leave it. */
function paint(isOn) {
  const pen = ([on, off]) => (isOn ? (text) => `${ESCAPE}[${on}m${text}${ESCAPE}[${off}m` : (text) => text)
  return Object.fromEntries(Object.entries(COLOURS).map(([name, codes]) => [name, pen(codes)]))
}

/** Whether the terminal's locale can show more than ASCII. */
function isUnicode(env, platform) {
  return platform === 'win32' || /utf-?8/i.test(env.LC_ALL || env.LC_CTYPE || env.LANG || '')
}

// Controls, and marks that change the direction of what follows.
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]|\p{Cs}/gu

/** A text of others on one line, with control characters written as in a JavaScript string. */
function safe(text) {
  return text.replace(UNSAFE, (sign) => `\\u${sign.codePointAt(0).toString(16).padStart(4, '0')}`)
}

const WIDE =
  /\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60]/u
const NARROW = /\p{Mn}|\p{Me}|\p{Cf}/u
const PARTS = new RegExp(`${ESCAPE}\\[[0-9;]*m|.`, 'gsu') // colours, and signs

const cellsOf = (sign) => (NARROW.test(sign) ? 0 : WIDE.test(sign) ? 2 : 1)

/** How many cells of a terminal a text takes; colours take none. */
function widthOf(text) {
  let width = 0
  for (const sign of stripVTControlCharacters(text)) width += cellsOf(sign)
  return width
}

const pad = (text, width) => text + ' '.repeat(Math.max(0, width - widthOf(text)))

/** The text cut to a width; colours are kept whole, and end where it is cut. */
function cut(text, width) {
  if (widthOf(text) <= width) return text
  let [left, out, coloured] = [Math.max(0, width - 1), '', false]
  for (const [part] of text.matchAll(PARTS)) {
    if (part.startsWith(ESCAPE)) {
      coloured = true
      out += part
      continue
    }
    left -= cellsOf(part)
    if (left < 0) break
    out += part
  }
  return `${out}${coloured ? `${ESCAPE}[0m` : ''}${width > 0 ? '…' : ''}`
}

/** A length of time, short: `0.25 s`, `12 s`, `3m 05s`, `2h 07m`, `3d 4h`. */
function duration(seconds) {
  const two = (number) => String(number).padStart(2, '0')
  if (seconds < 10) return `${Number(seconds.toFixed(seconds < 1 ? 2 : 1))} s`
  const whole = Math.floor(seconds)
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${two(whole % 60)}s`
  if (whole < 86_400) return `${Math.floor(whole / 3600)}h ${two(Math.floor((whole % 3600) / 60))}m`
  return `${Math.floor(whole / 86_400)}d ${Math.floor((whole % 86_400) / 3600)}h`
}

/** How full a group is; at least one cell when anybody holds, and full only when all slots are held. */
function bar(held, limit, { pen, unicode, width = 20 }) {
  const [on, off] = unicode ? ['█', '░'] : ['#', '-']
  const share = limit > 0 ? Math.min(1, held / limit) : Number(held > 0)
  const filled = share === 1 ? width : Math.min(width - 1, Math.max(Number(held > 0), Math.round(share * width)))
  const colour = share === 1 ? pen.red : share >= 0.8 ? pen.yellow : pen.green
  return (filled > 0 ? colour(on.repeat(filled)) : '') + (filled < width ? pen.dim(off.repeat(width - filled)) : '')
}

/** Rows of as many texts each under each other, two spaces between. */
function table(rows, indent = '') {
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => widthOf(row[i]))))
  return rows.map((row) => (indent + row.map((cell, i) => pad(cell, widths[i])).join('  ')).trimEnd())
}

module.exports = { bar, cut, duration, isUnicode, pad, paint, safe, table, wantsColour, widthOf }
