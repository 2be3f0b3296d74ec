// Draws the demo: redrawn in place on a terminal, one line every half second elsewhere. Only draws.

const bar = (filled, width) => '█'.repeat(filled) + '·'.repeat(Math.max(0, width - filled))

function block(group, { inside, waiting, served }) {
  const workers = Array.from({ length: group.limit }, (_, i) => inside.get(i + 1) ?? '–').join(' ')
  return [
    `  ${group.name.padEnd(11)} ${bar(inside.size, group.limit).padEnd(6)}`,
    `${inside.size} of ${group.limit} inside`,
    `workers ${workers}`.padEnd(18),
    `${waiting} waiting`.padEnd(11),
    `${served} served`,
  ].join('  ')
}

function line(group, { inside, waiting, served }) {
  return `${group.name} ${inside.size}/${group.limit} (${waiting} wait, ${served} served)`
}

/** Draws until the returned function is called. */
export function draw(observer, out = process.stdout) {
  const started = performance.now()
  const elapsed = () => `${((performance.now() - started) / 1000).toFixed(1)} s`
  let drawn = 0
  const redraw = () => {
    const rows = [elapsed(), ...observer.groups.map((group) => block(group, observer.live(group.name)))]
    out.write(
      (drawn > 0 ? `\x1b[${drawn}A` : '') + rows.map((row) => `\x1b[2K${row.slice(0, out.columns - 1)}\n`).join(''),
    )
    drawn = rows.length
  }
  const append = () => {
    out.write(
      `${elapsed().padStart(6)}  ${observer.groups.map((group) => line(group, observer.live(group.name))).join('  ')}\n`,
    )
  }
  const timer = out.isTTY ? setInterval(redraw, 80) : setInterval(append, 500)
  return () => {
    clearInterval(timer)
    if (out.isTTY) redraw()
  }
}

/** The table at the end. */
export function summary(verdicts) {
  const ms = (value) => `${value.toFixed(0)} ms`
  const row = (...cells) =>
    cells.map((cell, i) => (i === 0 ? `  ${cell}`.padEnd(14) : String(cell).padStart(12))).join('')
  return [
    row('group', 'limit', 'most inside', 'served', 'wait p50', 'wait p99'),
    ...verdicts.map((v) => row(v.name, v.limit, v.most, v.served, ms(v.p50), ms(v.p99))),
  ].join('\n')
}
