'use strict'

// The text that Prometheus scrapes (exposition format 0.0.4), out of what a meter has collected. Names are those that
// OpenTelemetry's exporters make of the same instruments: dots become underscores, units and `_total` are added.

const { BOUNDS } = require('./instruments.js')

const UNITS = { s: 'seconds' }

/** The text of some families. A family without samples is named all the same. */
function render(families) {
  return families.map(renderFamily).join('')
}

function renderFamily({ name, unit, description, type, samples }) {
  const parts = [name.replaceAll('.', '_'), UNITS[unit], type === 'counter' ? 'total' : undefined]
  const full = parts.filter((part) => part !== undefined).join('_')
  const lines = [`# HELP ${full} ${escapeHelp(description)}`, `# TYPE ${full} ${type}`]
  for (const { attributes, value } of samples) {
    const labels = Object.entries(attributes).map(([key, text]) => `${key.replaceAll('.', '_')}="${escapeLabel(text)}"`)
    if (type === 'histogram') lines.push(...renderHistogram(full, labels, value))
    else lines.push(sample(full, labels, value))
  }
  return `${lines.join('\n')}\n`
}

function renderHistogram(name, labels, { buckets, sum }) {
  let count = 0
  const lines = buckets.map((more, i) => {
    count += more
    return sample(`${name}_bucket`, [...labels, `le="${BOUNDS[i] ?? '+Inf'}"`], count)
  })
  return [...lines, sample(`${name}_sum`, labels, sum), sample(`${name}_count`, labels, count)]
}

const sample = (name, labels, value) => `${name}${labels.length === 0 ? '' : `{${labels.join(',')}}`} ${value}`

const escapeHelp = (text) => text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
const escapeLabel = (text) => escapeHelp(text).replaceAll('"', '\\"')

module.exports = { render }
