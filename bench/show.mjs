// How figures look on a terminal: one table for a workload, one for the aims.

function figure(value) {
  if (value === undefined || value === null || Number.isNaN(value)) return '–'
  return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString('en') : value.toPrecision(3)
}

function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  for (const row of rows)
    console.log(`  ${row.map((cell, i) => (i ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join('  ')}`)
}

/** Rows by name, each figure with its ratio to the first row's in brackets. */
export function showWorkload(name, title, rows) {
  console.log(`${name}: ${title}`)
  const [first] = Object.values(rows)
  if (!first) return console.log('  nothing measured\n')
  const columns = Object.keys(first)
  const cell = (row, column) => {
    if (row === first || row[column] === undefined) return figure(row[column])
    return `${figure(row[column])} (${figure(row[column] / first[column])})`
  }
  const body = Object.entries(rows).map(([row, figures]) => [row, ...columns.map((column) => cell(figures, column))])
  table([['', ...columns], ...body])
  console.log()
}

/** What is asked, what was reached, and whether that meets it. */
export function showAims(aims) {
  const verdict = ({ met }) => ({ true: 'met', false: 'NOT MET' })[met] ?? 'not measured'
  const rows = aims.map((aim) => [`${aim.name} ${aim.what}`, aim.asked, figure(aim.reached), verdict(aim)])
  console.log('Aims')
  table([['', 'asked', 'reached', ''], ...rows])
}
